# Installs the tree, builds consumer/ against it in a directory of its own and runs it with the installed plugins.
#   cmake -DBUILD=... -DSOURCE=... -DWORK=... -DCONFIG_ARGS=... -P install_test.cmake
file(REMOVE_RECURSE "${WORK}")
function(run)
  execute_process(COMMAND ${ARGN} RESULT_VARIABLE status OUTPUT_VARIABLE out ERROR_VARIABLE out)
  if(NOT status EQUAL 0)
    message(FATAL_ERROR "${ARGN}\n${out}")
  endif()
endfunction()
run("${CMAKE_COMMAND}" --install "${BUILD}" --prefix "${WORK}/prefix" --component tengen)
run("${CMAKE_COMMAND}" --install "${BUILD}" --prefix "${WORK}/prefix" --component TengenKernelApi)
run("${CMAKE_COMMAND}" -G "${GENERATOR}" -S "${SOURCE}" -B "${WORK}/build" "-DCMAKE_PREFIX_PATH=${WORK}/prefix"
  "-DCMAKE_CXX_COMPILER=${CXX_COMPILER}" "-DCMAKE_CXX_FLAGS=${CXX_FLAGS}" -DCMAKE_BUILD_TYPE=Release)
run("${CMAKE_COMMAND}" --build "${WORK}/build")
file(GLOB_RECURSE libraries "${WORK}/prefix/*/libtengen_reference.so")
list(GET libraries 0 library)
get_filename_component(plugins "${library}" DIRECTORY)
run("${CMAKE_COMMAND}" -E env "TENGEN_PLUGIN_PATH=${plugins}" TENGEN_PROBE=never "${WORK}/build/consumer")
