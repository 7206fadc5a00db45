// SPDX-License-Identifier: Apache-2.0
// What a call costs below Python: the core's shortest way, with its allocation and its kernel. See timing.h for how to
// ask.  dispatch_bench PLUGIN_DIRECTORY PROBE
//   add16        a + b on 16 f32
//   matmul1024   a @ b, 1024 x 1024 f32: against the same from Python and from oneDNN, it says where time is lost
#include <tengen/op.h>
#include <tengen/runtime.h>

#include "timing.h"

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fprintf(stderr, "expected the directory of the plugins and the path of tengen-probe\n");
    return 2;
  }
  tg::add_plugin_directory(argv[1]);
  tg::set_probe_path(argv[2]);
  tg::Device* const host = tg::host_device();
  const auto filled = [&](tg::Ints shape) {
    const std::vector<float> values(tg::numel(shape), 0.5f);
    return tg::Tensor::from_host(values.data(), shape, tg::DType::f32, host);
  };
  const tg::Arg small[] = {filled({16}), filled({16})};
  const tg::Arg square[] = {filled({1024, 1024}), filled({1024, 1024})};
  const tg::Op &add = tg::require_op("add"), &matmul = tg::require_op("matmul");
  const int status = bench::serve({
      {"add16", [&] { tg::call_one(add, small); }, 10000},
      {"matmul1024", [&] { tg::call_one(matmul, square); }},
  });
  tg::shutdown();
  return status;
}
