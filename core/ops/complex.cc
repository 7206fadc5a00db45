// SPDX-License-Identifier: Apache-2.0
// Complex numbers and their parts. Gradients are those with respect to the conjugate, d/d re + i d/d im, as PyTorch's.
#include <tengen/map_expr.h>

#include "common.h"

namespace tg {
namespace {

Tensor seen_as(const Tensor& x, DType t, const Ints& shape, const Ints& strides, int64_t bytes = 0) {
  return Tensor(Ref<TensorImpl>::adopt(
      new TensorImpl(x.storage(), t, shape, strides, x.impl()->desc.byte_offset + uint64_t(bytes))));
}
Ints scaled(Ints strides, int64_t by) {
  for (int64_t& s : strides) s *= by;
  return strides;
}
Tensor part(const Tensor& x, int64_t which) {
  const DType r = real_dtype(x.dtype());
  return seen_as(x, r, x.shape(), scaled(x.strides(), 2), which * size_of(r));
}
void complex_only(const Inference& c) {
  check_type(is_complex(c.input(0).dtype), c.name(), "complex numbers", c.input(0).dtype);
}
Tensor imaginary(const Tensor& y) { return op<"complex">({zeros_like(y), y}); }

OpBuilder complex_op(OpBuilder o) { return o.family("complex").own_conj(); }

}  // namespace

TG_OPS(complex) {
  complex_op(TG_OP(view_as_real))
      .doc("A complex tensor seen as reals, with a last axis of 2: real and imaginary parts. Errors: TypeError for reals.")
      .input("x", "a complex tensor")
      .output("y", "[..., 2], real")
      .infer([](const Inference& c) {
        complex_only(c);
        Shape s = c.input(0).shape;
        s.push_back(2);
        return one({real_dtype(c.input(0).dtype), s});
      })
      .view([](const Call& c) {
        infer_now(c);
        const Tensor& x = c.input(0);
        Ints shape = x.shape(), strides = scaled(x.strides(), 2);
        shape.push_back(2), strides.push_back(1);
        return Tensors{seen_as(x, real_dtype(x.dtype()), shape, strides)};
      })
      .grad([](const Backward& b) { return Tensors{op<"view_as_complex">({b.grad().contiguous()})}; })
      .saves(0, 0)
      .batch_axes({})
      .bounds(0, "exact")
      .example(">>> tg.view_as_real(tg.tensor([1 + 2j])).tolist()\n[[1.0, 2.0]]");

  complex_op(TG_OP(view_as_complex))
      .doc("Reals with a last axis of 2 seen as complex numbers. Errors: TypeError unless f32 or f64; ValueError unless "
           "the last axis has size 2 and its elements lie side by side, and all others an even distance apart.")
      .input("x", "[..., 2], f32 or f64")
      .output("y", "[...], complex")
      .infer([](const Inference& c) {
        const TensorSpec& x = c.input(0);
        check_type(x.dtype == DType::f32 || x.dtype == DType::f64, c.name(), "float32 or float64", x.dtype);
        c.check(!x.shape.empty() && x.shape.back() == Dim(2), "expected a last axis of size 2, got shape ", str(x.shape));
        Shape s = x.shape;
        s.pop_back();
        return one({complex_dtype(x.dtype), s});
      })
      .view([](const Call& c) {
        infer_now(c);
        const Tensor& x = c.input(0);
        Ints shape = x.shape(), strides = x.strides();
        bool even = strides.back() == 1 && x.impl()->desc.byte_offset % uint64_t(2 * size_of(x.dtype())) == 0;
        shape.pop_back(), strides.pop_back();
        for (size_t i = 0; i < strides.size(); ++i) {
          even = even && (strides[i] % 2 == 0 || shape[i] == 1);
          strides[i] /= 2;
        }
        check(even, "[view_as_complex] expected parts side by side and an even distance between elements, got strides ",
              str(x.strides()), "; use complex(x[..., 0], x[..., 1])");
        return Tensors{seen_as(x, complex_dtype(x.dtype()), shape, strides)};
      })
      .grad([](const Backward& b) { return Tensors{op<"view_as_real">({b.grad()})}; })
      .saves(0, 0)
      .batch_axes({})
      .bounds(0, "exact")
      .example(">>> tg.view_as_complex(tg.tensor([[1., 2.]])).tolist()\n[(1+2j)]");

  complex_op(TG_OP(real).function_only())
      .doc("The real part, a view; a real tensor is its own.")
      .input("x", "any tensor")
      .infer([](const Inference& c) { return one({real_dtype(c.input(0).dtype), c.input(0).shape}); })
      .view([](const Call& c) {
        const Tensor& x = c.input(0);
        return Tensors{is_complex(x.dtype()) ? part(x, 0) : seen_as(x, x.dtype(), x.shape(), x.strides())};
      })
      .grad([](const Backward& b) { return Tensors{b.grad().cast(b.input_dtype(0))}; })
      .saves(0, 0)
      .batch_axes({})
      .bounds(0, "exact")
      .example(">>> tg.real(tg.tensor([1 + 2j])).tolist()\n[1.0]");

  complex_op(TG_OP(imag).function_only())
      .doc("The imaginary part, a view. Errors: TypeError for reals.")
      .input("x", "a complex tensor")
      .infer([](const Inference& c) {
        complex_only(c);
        return one({real_dtype(c.input(0).dtype), c.input(0).shape});
      })
      .view([](const Call& c) {
        infer_now(c);
        return Tensors{part(c.input(0), 1)};
      })
      .grad([](const Backward& b) { return Tensors{imaginary(b.grad())}; })
      .saves(0, 0)
      .batch_axes({})
      .bounds(0, "exact")
      .example(">>> tg.imag(tg.tensor([1 + 2j])).tolist()\n[2.0]");

  complex_op(TG_OP(complex).function_only())
      .doc("re + im i: f64 makes c128, everything else c64. Errors: TypeError for complex parts.")
      .input("re", "real parts")
      .input("im", "imaginary parts; broadcasts with re")
      .output("z", "the broadcast shape, complex")
      .map(Promotion::common_float,
           [](MapBuilder& b, Values in, AttrSpan) {
             check_type(is_floating(in[0].dtype), "complex", "real numbers", in[0].dtype);
             const DType t = real_dtype(complex_dtype(in[0].dtype));
             return b.pair(b.cast(in[0], t), b.cast(in[1], t));
           })
      .grad([](const Backward& b) { return Tensors{op<"real">({b.grad()}), op<"imag">({b.grad()})}; })
      .saves(0, 0)
      .bounds(0, "exact")
      .example(">>> tg.complex(tg.tensor([1.]), tg.tensor([2.])).tolist()\n[(1+2j)]");

  complex_op(TG_OP(polar).function_only())
      .doc("The complex number of modulus r and angle t in radians. Errors: TypeError for complex operands.")
      .input("r", "moduli")
      .input("t", "angles; broadcasts with r")
      .output("z", "the broadcast shape, complex")
      .infer([](const Inference& c) {
        for (size_t i = 0; i < 2; ++i) check_type(is_floating(c.input(i).dtype), c.name(), "floats", c.input(i).dtype);
        const DType t = promote(c.input(0).dtype, c.input(1).dtype);
        return one({complex_dtype(t), broadcast(c.name(), c.input(0).shape, c.input(1).shape)});
      })
      .decompose([](const Call& c) {
        const DType part = real_dtype(infer_now(c)[0].dtype);  // 16-bit floats compute in the result's precision
        const Tensor r = c.input(0).cast(part), t = c.input(1).cast(part);
        return Tensors{op<"complex">({op<"mul">({r, op<"cos">({t})}), op<"mul">({r, op<"sin">({t})})})};
      })
      .bounds(6, "the sine's 4 ulp and a product, absolute eps where small")
      .example(">>> tg.polar(tg.tensor([2.]), tg.tensor([0.])).tolist()\n[(2+0j)]");

  complex_op(TG_OP(conj))
      .doc("The complex conjugate; reals stay as they are.")
      .input("x", "any tensor")
      .map(Promotion::none,
           [](MapBuilder& b, Values in, AttrSpan) {
             return is_complex(in[0].dtype) ? b.pair(b.real(in[0]), b.emit(TG_MAP_NEG, b.imag(in[0]))) : in[0];
           })
      .grad([](const Backward& b) { return Tensors{op<"conj">({b.grad()})}; })
      .saves(0, 0)
      .bounds(0, "exact")
      .example(">>> tg.conj(tg.tensor([1 + 2j])).tolist()\n[(1-2j)]");

  complex_op(TG_OP(angle))
      .doc("The angle in (-pi, pi]; of reals: pi where negative, else 0, NaN for NaN. Its gradient at 0 is 0.")
      .input("x", "any tensor")
      .output("y", "real")
      .map(Promotion::common_float,
           [](MapBuilder& b, Values in, AttrSpan) {
             if (is_complex(in[0].dtype)) return b.emit(TG_MAP_ATAN2, b.imag(in[0]), b.real(in[0]));
             const Expr x{&b, in[0]};
             return where(is_nan(x), x, where(x < 0.0, 3.14159265358979323846, x.constant(0))).v;
           })
      .grad([](const Backward& b) {
        const Tensor& z = b.input(0);
        if (!is_complex(z.dtype())) return Tensors{zeros_like(b.grad())};
        const Tensor at_zero = op<"eq">({z, 0.0}), safe = op<"where">({at_zero, 1.0, op<"conj">({z})});
        return Tensors{op<"where">({at_zero, 0.0, op<"div">({imaginary(b.grad()), safe})})};
      })
      .saves(1, 0)
      .bounds(6, "atan2's 6 ulp (ABI)")
      .example(">>> tg.angle(tg.tensor([1j])).tolist()\n[1.5707963705062866]");

  complex_op(TG_OP(isreal))
      .doc("The imaginary part is 0.")
      .input("x", "any tensor")
      .output("y", "bool")
      .map(Promotion::none,
           [](MapBuilder& b, Values in, AttrSpan) {
             if (!is_complex(in[0].dtype)) return b.emit(TG_MAP_COPY, b.immediate(true, DType::boolean));
             return b.emit(TG_MAP_EQ, b.imag(in[0]), b.immediate(0.0, real_dtype(in[0].dtype)));
           })
      .no_grad()
      .bounds(0, "exact")
      .example(">>> tg.isreal(tg.tensor([1 + 2j, 3])).tolist()\n[False, True]");
}

}  // namespace tg
