# SPDX-License-Identifier: Apache-2.0
# A plugin from outside, end to end: installs kernel_api to a prefix of its own, builds outside/ against that and nothing
# else, checks what the library exports and needs, and runs outside_test on it. Called by ctest with
#   -DKERNEL_API= -DOUTSIDE= -DWORK= -DCHECK= -DGENERATOR= -DC_COMPILER= -DCXX_COMPILER= -DNM= -DLAUNCHER=

function(run)
  execute_process(COMMAND ${ARGN} RESULT_VARIABLE status OUTPUT_VARIABLE output ERROR_VARIABLE output)
  if(NOT status EQUAL 0)
    string(REPLACE ";" " " command "${ARGN}")
    message(FATAL_ERROR "expected exit status 0, got ${status}: ${command}\n${output}")
  endif()
  set(output "${output}" PARENT_SCOPE)
endfunction()

file(REMOVE_RECURSE "${WORK}")
set(tools -G "${GENERATOR}" "-DCMAKE_C_COMPILER=${C_COMPILER}" "-DCMAKE_CXX_COMPILER=${CXX_COMPILER}"
  "-DCMAKE_CXX_COMPILER_LAUNCHER=${LAUNCHER}")
run("${CMAKE_COMMAND}" -S "${KERNEL_API}" -B "${WORK}/kernel_api" ${tools})
run("${CMAKE_COMMAND}" --install "${WORK}/kernel_api" --prefix "${WORK}/prefix")
# A copy, so that nothing can be found by a relative path into Tengen's tree.
file(COPY "${OUTSIDE}/" DESTINATION "${WORK}/source")
run("${CMAKE_COMMAND}" -S "${WORK}/source" -B "${WORK}/build" ${tools} "-DCMAKE_PREFIX_PATH=${WORK}/prefix")
run("${CMAKE_COMMAND}" --build "${WORK}/build")
set(library "${WORK}/build/libtengen_tiny.so")

run("${NM}" -D --defined-only "${library}")
string(STRIP "${output}" output)
if(NOT output MATCHES "^[0-9a-f]+ T tg_plugin_query$")
  message(FATAL_ERROR "expected tg_plugin_query to be the one exported symbol, got:\n${output}")
endif()
# What it needs comes from versioned system libraries, or is weak: no symbol of the host.
run("${NM}" -D --undefined-only "${library}")
string(STRIP "${output}" output)
string(REPLACE "\n" ";" lines "${output}")
foreach(line IN LISTS lines)
  string(STRIP "${line}" line)
  if(NOT line MATCHES "^w " AND NOT line MATCHES "^U [^@]+@(GLIBC|GLIBCXX|CXXABI|GCC)_")
    message(FATAL_ERROR "expected no undefined symbols but those of the C and C++ libraries, got: ${line}")
  endif()
endforeach()

execute_process(COMMAND "${CHECK}" "${library}" RESULT_VARIABLE status)
if(NOT status EQUAL 0)
  message(FATAL_ERROR "outside_test failed: ${status}")
endif()
