// SPDX-License-Identifier: Apache-2.0
// Discrete Fourier transforms: one leaf, complex to complex along the last axis of pairs of reals; all others are
// views, paddings and symmetries around it (docs/design/008-complex.md and 009-fft.md). Definitions and the three
// normalizations are NumPy's.
#include <cmath>

#include "common.h"

namespace tg {
namespace {

enum class Kind { c2c, r2c, c2r };
enum class Axes { one, last_two, any };

struct Family {
  Kind kind;
  bool inverse;  // which direction's factor; also the exponent's, but that hfft goes back from conj(x), and ihfft gives
                 // conj(y)
  Axes axes;
  bool backward() const { return kind == Kind::c2r || (kind == Kind::c2c && inverse); }  // exp(+2 pi i j k / n)
  bool conjugate() const { return kind != Kind::c2c && inverse != backward(); }
};

// The axes in order, the last of which is the real transforms', and their sizes: the signal's, for all kinds.
struct Plan {
  Ints axes;
  Shape sizes;
};

Plan plan_of(const Family& f, const char* op, const Shape& x, AttrSpan attrs) {
  Plan p;
  const int64_t rank = int64_t(x.size());
  const auto ints = [](const Attr& a) {
    const auto* one = std::get_if<int64_t>(&a.value());
    return one ? Ints{*one} : a.given() ? a.ints() : Ints{};
  };
  const Ints s = ints(attrs[0]), given = ints(attrs[1]);
  if (attrs[1].given())
    for (int64_t a : given) p.axes.push_back(normalize_axis(op, a, rank));
  else
    for (int64_t i = attrs[0].given() ? rank - int64_t(s.size()) : 0; i < rank; ++i) p.axes.push_back(i);
  check(!attrs[0].given() || s.size() == p.axes.size(), "[", op, "] expected a size for each of ", p.axes.size(),
        " axes, got ", s.size());
  check(!p.axes.empty() || f.kind == Kind::c2c, "[", op, "] expected at least one axis, got none");
  for (size_t i = 0; i < p.axes.size(); ++i) {
    check(p.axes[i] >= 0, "[", op, "] expected at most ", rank, " sizes, got ", s.size());
    for (size_t j = 0; j < i; ++j) check(p.axes[i] != p.axes[j], "[", op, "] expected distinct axes, got ", str(given));
    const Dim n = x[size_t(p.axes[i])];
    const bool last = i + 1 == p.axes.size();
    const Dim size = attrs[0].given() && (s[i] != -1 || f.axes == Axes::one) ? Dim(s[i])
                     : f.kind == Kind::c2r && last                           ? (n - Dim(1)) * Dim(2)
                                                                             : n;
    check(!size.is_constant() || size.value() > 0, "[", op, "] expected sizes of 1 or more, got ", size, " on axis ",
          p.axes[i], " of shape ", str(x), "; give ", f.axes == Axes::one ? "n" : "s");
    p.sizes.push_back(size);
  }
  return p;
}

// The factor of one transform of n numbers; "forward" and "backward" say which direction has 1 / n.
double factor(const Family& f, const char* op, const Attr& norm, double n) {
  const std::string name = norm.given() ? norm.string() : "backward";
  check(name == "backward" || name == "ortho" || name == "forward", "[", op,
        "] expected norm \"backward\", \"ortho\" or \"forward\", got \"", name, "\"");
  if (name == "ortho") return 1 / std::sqrt(n);
  return (name == "forward") == f.inverse ? 1 : 1 / n;
}

Specs infer_transform(const Family& f, const Inference& c) {
  const TensorSpec& x = c.input(0);
  check_type(kind_of(x.dtype) != DKind::small_float && (f.kind != Kind::r2c || !is_complex(x.dtype)), c.name(),
             f.kind == Kind::r2c ? "real numbers" : "numbers", x.dtype);
  const Plan p = plan_of(f, c.name(), x.shape, c.attrs);
  factor(f, c.name(), c.attr(2), 1);
  Shape y = x.shape;
  for (size_t i = 0; i < p.axes.size(); ++i) y[size_t(p.axes[i])] = p.sizes[i];
  if (f.kind == Kind::r2c) y[size_t(p.axes.back())] = floor_div(p.sizes.back(), 2) + Dim(1);
  const DType z = complex_dtype(x.dtype);
  return one({f.kind == Kind::c2r ? real_dtype(z) : z, y});
}

// n elements along an axis: cut, or zeros behind.
Tensor sized(const Tensor& x, int64_t axis, int64_t n) {
  const int64_t now = x.size(axis);
  if (n <= now) return n == now ? x : slice(x, axis, 0, n);
  Ints shape = x.shape();
  shape[size_t(axis)] = n - now;
  return op<"concat">({x, zeros(shape, x.dtype(), x.device())}, {axis});
}

Tensor transformed(const Tensor& z, int64_t axis, bool inverse, double scale) {
  const Tensor pairs = op<"view_as_real">({transpose(z, axis, -1)});
  return transpose(op<"view_as_complex">({op<"leaf_fft">({pairs}, {int64_t(inverse), scale})}), axis, -1);
}

// From the first n / 2 + 1 elements of a spectrum whose other ones are their conjugates.
Tensor completed(const Tensor& half, int64_t axis, int64_t n) {
  const int64_t m = n / 2 + 1;
  const Tensor z = sized(half, axis, m);
  if (n <= 2) return slice(z, axis, 0, n);
  return op<"concat">({z, op<"conj">({op<"flip">({slice(z, axis, 1, n - m + 1)}, {Ints{axis}})})}, {axis});
}

Tensors decompose_transform(const Family& f, const Call& c) {
  infer_now(c);
  const Tensor& x = c.input(0);
  const char* name = c.op.name.c_str();
  const Plan p = plan_of(f, name, symbolic(x.shape()), c.attrs);
  const Ints sizes = concrete(p.sizes);
  Tensor z = x.cast(complex_dtype(x.dtype()));
  if (f.kind == Kind::c2r && f.conjugate()) z = op<"conj">({z});
  for (size_t i = 0; i < sizes.size(); ++i) {
    // The real axis is the first to go from a signal, the last from a spectrum: half the work of the others.
    const size_t k = f.kind == Kind::r2c ? sizes.size() - 1 - i : i;
    const bool half = f.kind != Kind::c2c && k + 1 == sizes.size();
    z = half && f.kind == Kind::c2r ? completed(z, p.axes[k], sizes[k]) : sized(z, p.axes[k], sizes[k]);
    z = transformed(z, p.axes[k], f.backward(), factor(f, name, c.attr(2), double(sizes[k])));
    if (half && f.kind == Kind::r2c) z = slice(z, p.axes[k], 0, sizes[k] / 2 + 1);
  }
  if (f.kind == Kind::r2c && f.conjugate()) z = op<"conj">({z});
  return {f.kind == Kind::c2r ? op<"copy">({op<"real">({z})}) : z};
}

// numpy.fft's names with fft_ before: tengen.fft has them without.
void transform(const char* file, const std::string& name, Family f, const std::string& what, const char* example) {
  const bool half_in = f.kind == Kind::c2r, half_out = f.kind == Kind::r2c;
  OpBuilder o(name.c_str(), file);
  o.family("fft")
      .function_only()
      .doc(what +
           " Integers count as f32, f16 and bf16 too. Errors: ValueError for sizes below 1, axes that repeat and other "
           "norms; "
           "IndexError for axes that are not there" +
           (half_out ? "; TypeError for complex numbers." : "."))
      .input("x", half_out  ? "real numbers"
                  : half_in ? "the first half of a Hermitian spectrum along the (last) axis"
                            : "numbers, complex or real")
      .infer([f](const Inference& c) { return infer_transform(f, c); })
      .decompose([f](const Call& c) { return decompose_transform(f, c); })
      .bounds(4, "the depth of the factorization (log2 n), relative to the norm of y: 009-fft.md")
      .example(example);
  if (f.axes == Axes::one)
    o.optional_attr("n", AttrKind::integer,
                    half_in ? "the output's size; 2 (m - 1) by default"
                            : "cut or filled up with zeros to this size; x's by default")
        .attr("axis", AttrKind::integer, -1, "the axis");
  else
    o.optional_attr("s", AttrKind::ints,
                    std::string("sizes by axis, as n of the one-dimensional transform; -1: as they are") +
                        (f.axes == Axes::any ? ". Without axes: those of the last axes" : ""));
  if (f.axes == Axes::last_two) o.attr("axes", AttrKind::ints, Ints{-2, -1}, "the axes");
  if (f.axes == Axes::any) o.optional_attr("axes", AttrKind::ints, "the axes; all by default");
  o.optional_attr("norm", AttrKind::string,
                  "\"backward\" (the default): the inverse has the factor 1 / n; \"forward\": the other; \"ortho\": "
                  "both 1 / sqrt(n)")
      .output("y", half_in    ? "real"
                   : half_out ? "complex, of n / 2 + 1 elements along the (last) axis"
                              : "complex");
}

}  // namespace

TG_OPS(fft) {
  TG_OP(leaf_fft)
      .kernel("fft")
      .internal()
      .family("leaf")
      .doc("The sums over j of x_j exp(-2 pi i j k / n), times a factor.")
      .input("x", "[..., n, 2]: real and imaginary parts, f32 or f64")
      .attr("backward", AttrKind::integer, 0, "1: exp(+2 pi i j k / n)")
      .attr("factor", AttrKind::floating, 1.0, "of every sum")
      .output("y", "[..., n, 2]")
      .infer([](const Inference& c) {
        const TensorSpec& x = c.input(0);
        check_type(x.dtype == DType::f32 || x.dtype == DType::f64, c.name(), "float32 or float64", x.dtype);
        c.check(x.shape.size() >= 2 && x.shape.back() == Dim(2), "expected pairs of reals, got shape ", str(x.shape));
        return one(x);
      })
      .grad([](const Backward& b) {  // the matrix is symmetric in j and k; its adjoint on pairs has the other sign
        return Tensors{op<"leaf_fft">({b.grad()}, {1 - b.attr(0).integer(), b.attr(1).floating()})};
      })
      .saves(0, 0)
      .linear({{0}})
      .batch_axes({})
      .bounds(4, "the depth of the factorization (log2 n), relative to the norm of y: 009-fft.md");

  const auto family = [](const std::string& name, Kind kind, bool inverse, const char* what, const char* one_line,
                         const char* many) {
    const std::string d = what;
    transform(__FILE__, "fft_" + name, {kind, inverse, Axes::one}, d + " along one axis.", one_line);
    transform(__FILE__, "fft_" + name + "2", {kind, inverse, Axes::last_two}, d + " along two axes.", many);
    transform(__FILE__, "fft_" + name + "n", {kind, inverse, Axes::any}, d + " along several axes.", many);
  };
  family("fft", Kind::c2c, false, "The discrete Fourier transform, the sum over j of x_j exp(-2 pi i j k / n),",
         ">>> tg.fft.fft(tg.tensor([1., 0., 0., 0.])).tolist()\n[(1+0j), (1+0j), (1+0j), (1+0j)]",
         ">>> tg.fft.fftn(tg.ones(2, 2)).tolist()\n[[(4+0j), 0j], [0j, 0j]]");
  family("ifft", Kind::c2c, true, "The inverse of the discrete Fourier transform",
         ">>> tg.fft.ifft(tg.tensor([4., 0., 0., 0.])).tolist()\n[(1+0j), (1+0j), (1+0j), (1+0j)]",
         ">>> tg.fft.ifftn(tg.tensor([[4., 0.], [0., 0.]])).tolist()\n[[(1+0j), (1+0j)], [(1+0j), (1+0j)]]");
  family("rfft", Kind::r2c, false,
         "The first half of the discrete Fourier transform of real numbers (the other is its conjugate)",
         ">>> tg.fft.rfft(tg.ones(4)).tolist()\n[(4+0j), 0j, 0j]",
         ">>> tg.fft.rfftn(tg.ones(2, 2)).tolist()\n[[(4+0j), 0j], [0j, 0j]]");
  family("irfft", Kind::c2r, true, "The real numbers of which rfft gave x,",
         ">>> tg.fft.irfft(tg.tensor([4., 0., 0.])).tolist()\n[1.0, 1.0, 1.0, 1.0]",
         ">>> tg.fft.irfftn(tg.tensor([[4., 0.], [0., 0.]])).tolist()\n[[1.0, 1.0], [1.0, 1.0]]");
  family("hfft", Kind::c2r, false,
         "The discrete Fourier transform, which is real, of a signal whose first half is x and whose other half is "
         "conjugate,",
         ">>> tg.fft.hfft(tg.tensor([1., 1., 1.])).tolist()\n[4.0, 0.0, 0.0, 0.0]",
         ">>> tg.fft.hfftn(tg.ones(2, 2)).tolist()\n[[4.0, 0.0], [0.0, 0.0]]");
  family("ihfft", Kind::r2c, true, "The inverse of hfft",
         ">>> tg.fft.ihfft(tg.tensor([4., 0., 0., 0.])).real.tolist()\n[1.0, 1.0, 1.0]",
         ">>> tg.fft.ihfftn(tg.tensor([[4., 0.], [0., 0.]])).real.tolist()\n[[1.0, 1.0], [1.0, 1.0]]");
}

}  // namespace tg
