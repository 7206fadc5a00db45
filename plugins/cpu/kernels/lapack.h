// SPDX-License-Identifier: Apache-2.0
//
// LAPACK as found on the system: OpenBLAS built for OpenMP (Debian: libopenblas0-openmp), opened when first asked for.
// It is neither linked nor shipped. A build with threads of its own is refused: a second pool in the process halves its
// speed.
//
//   const Lapack<double>& l = lapack<double>();   // throws Failure(TG_UNIMPLEMENTED) with the reason
//   int64_t n = 3, info = 0;
//   l.potrf("U", &n, a, &n, &info, 1);            // column-major, Fortran's calling convention
//
// Integers are passed as int64_t whatever the library's width: on little-endian machines its low half is the 32-bit
// integer. What comes back in 32 bits is read with `integer()`.
#ifndef TENGEN_PLUGINS_CPU_KERNELS_LAPACK_H_
#define TENGEN_PLUGINS_CPU_KERNELS_LAPACK_H_

#include <bit>
#include <cstddef>
#include <cstdint>

namespace tg::cpu {

static_assert(std::endian::native == std::endian::little);
using Int = const int64_t*;
using Char = const char*;

template <class T>
struct Lapack {
  bool wide;  // 64-bit integers
  void (*potrf)(Char uplo, Int n, T* a, Int lda, int64_t* info, size_t);
  void (*getrf)(Int m, Int n, T* a, Int lda, int64_t* pivots, int64_t* info);
  void (*gelqf)(Int m, Int n, T* a, Int lda, T* tau, T* work, Int lwork, int64_t* info);
  void (*orglq)(Int m, Int n, Int k, T* a, Int lda, const T* tau, T* work, Int lwork, int64_t* info);
  void (*gesdd)(Char jobz, Int m, Int n, T* a, Int lda, T* s, T* u, Int ldu, T* vt, Int ldvt, T* work, Int lwork,
                int64_t* iwork, int64_t* info, size_t);
  void (*syevd)(Char jobz, Char uplo, Int n, T* a, Int lda, T* w, T* work, Int lwork, int64_t* iwork, Int liwork,
                int64_t* info, size_t, size_t);
  void (*trsm)(Char side, Char uplo, Char trans, Char diag, Int m, Int n, const T* alpha, const T* a, Int lda, T* b,
               Int ldb, size_t, size_t, size_t, size_t);

  // Entry i of an array of the library's integers.
  int64_t integer(const int64_t* p, int64_t i = 0) const {
    return wide ? p[i] : reinterpret_cast<const int32_t*>(p)[i];
  }
};

template <class T>
const Lapack<T>& lapack();  // float, double

}  // namespace tg::cpu
#endif  // TENGEN_PLUGINS_CPU_KERNELS_LAPACK_H_
