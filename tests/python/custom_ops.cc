// SPDX-License-Identifier: Apache-2.0
// A library of custom ops, as a user would write it: test_custom_library.py builds it outside of the tree.
#include <tengen/custom_ops.hpp>

#include <cmath>

using tg::custom::Call;
using tg::plugin::fail;

namespace {

// f(T*, count) for the floats of a tensor.
template <class F>
void floats(const tg_tensor& t, F f) {
  tg::plugin::visit(t.dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    if constexpr (std::is_floating_point_v<T>) f(tag);
    else fail(TG_INVALID_ARGUMENT, "expected float32 or float64, got %s", tg::plugin::dtype_name(t.dtype));
  });
}

}  // namespace

TG_CUSTOM_OPS(ops) {
  ops.add("testlib::cube", "(x: Tensor, by: float = 1.0) -> Tensor")
      .doc("by x^3, elementwise.")
      .run([](const Call& c) {
        floats(c.input(0), [&](auto tag) {
          using T = typename decltype(tag)::type;
          const T* x = c.data<T>(c.input(0));
          T* y = c.data<T>(c.output());
          for (int64_t i = 0, n = tg::plugin::numel(c.input(0)); i < n; ++i) y[i] = T(c.floating(0)) * x[i] * x[i] * x[i];
        });
      })
      .backward([](const Call& c) {  // g, x, y
        floats(c.input(1), [&](auto tag) {
          using T = typename decltype(tag)::type;
          const T *g = c.data<T>(c.input(0)), *x = c.data<T>(c.input(1));
          T* d = c.data<T>(c.output());
          for (int64_t i = 0, n = tg::plugin::numel(c.input(1)); i < n; ++i) d[i] = g[i] * 3 * T(c.floating(0)) * x[i] * x[i];
        });
      });

  // Rows of x chosen by integers, times w if there is one: several outputs, an optional tensor, no gradient for integers.
  ops.add("testlib::rows", "(x: Tensor, index: Tensor, w: Optional[Tensor], name: str = 'rows', pad: list[int] = (0,)) -> tuple[Tensor, Tensor]")
      .doc("x[index] w, and how often each row was taken.")
      .infer([](const Call& c) {
        const tg_tensor &x = c.input(0), &index = c.input(1);
        if (x.ndim != 2 || index.ndim != 1) fail(TG_INVALID_ARGUMENT, "expected x [n, k] and index [m], got ranks %d and %d", x.ndim, index.ndim);
        return std::vector<tg_custom_spec>{tg::custom::spec(x.dtype, {index.shape[0] + c.ints(1).at(0), x.shape[1]}),
                                           tg::custom::spec(index.dtype, {x.shape[0]})};
      })
      .run([](const Call& c) {
        if (c.string(0) != "rows") fail(TG_UNIMPLEMENTED, "expected the name rows, got %s", c.string(0).c_str());
        const tg_tensor &x = c.input(0), &index = c.input(1);
        const double* w = c.has(2) ? c.data<double>(c.input(2)) : nullptr;
        for (int64_t i = 0; i < index.shape[0]; ++i) {
          const int64_t row = c.data<int64_t>(index)[i];
          if (row < 0 || row >= x.shape[0]) fail(TG_OUT_OF_RANGE, "expected rows below %ld, got %ld", long(x.shape[0]), long(row));
          ++c.data<int64_t>(c.output(1))[row];
          for (int64_t k = 0; k < x.shape[1]; ++k)
            c.data<double>(c.output(0))[i * x.shape[1] + k] = c.data<double>(x)[row * x.shape[1] + k] * (w ? w[k] : 1);
        }
      })
      .backward([](const Call& c) {  // g, g of counts, x, index, w, y, counts
        const tg_tensor &x = c.input(2), &index = c.input(3);
        const int64_t width = x.shape[1];
        if (c.wants(1)) fail(TG_INTERNAL, "integers have no gradient");
        for (int64_t i = 0; i < index.shape[0]; ++i)
          for (int64_t k = 0; k < width; ++k) {
            const int64_t at = c.data<int64_t>(index)[i] * width + k;
            const double g = c.data<double>(c.input(0))[i * width + k];
            c.data<double>(c.output(0))[at] += g * (c.has(4) ? c.data<double>(c.input(4))[k] : 1);
            if (c.wants(2)) c.data<double>(c.output(2))[k] += g * c.data<double>(x)[at];
          }
      });

  ops.add("testlib::total", "(parts: list[Tensor]) -> Tensor")
      .doc("The sum of all elements of all parts, in float64.")
      .infer([](const Call&) { return std::vector<tg_custom_spec>{tg::custom::spec({TG_CODE_FLOAT, 64, 1}, {})}; })
      .run([](const Call& c) {
        double sum = 0;
        for (size_t k = 0; k < c.inputs(); ++k)
          for (int64_t i = 0, n = tg::plugin::numel(c.input(k)); i < n; ++i) sum += c.data<double>(c.input(k))[i];
        *c.data<double>(c.output()) = sum;
      });
}
