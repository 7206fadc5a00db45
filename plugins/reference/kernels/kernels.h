// SPDX-License-Identifier: Apache-2.0
//
// The kernels of the floor and of the leaf ops (factorizations) in plain C++: the oracle for every other plugin and the model to copy from. One family per file.
// They need nothing but a tg_host (only its parallel_for, which may be NULL) and reach memory through
// tg::plugin::data<T>() alone, so that a plugin with other memory or streams can link them again
// (target tengen_reference_kernels) and call run() from a thread of its own.
//
//   std::unique_ptr<tg::plugin::Plan> plan = tg::reference::make_plan(host, call);  // throws tg::plugin::Failure
//   plan->run(run);                                                                 // done when it returns
//
// A plan keeps `host` and nothing of `call`; it serves all shapes of equal rank and runs in several threads at once.
#pragma once

#include <memory>

#include <tengen/kernel_api.hpp>

namespace tg::reference {

using PlanPtr = std::unique_ptr<plugin::Plan>;

// The plan for call.op, one of the families below; throws Failure(TG_UNIMPLEMENTED) to refuse.
PlanPtr make_plan(const tg_host* host, const tg_call& call);

PlanPtr make_map(const tg_host* host, const tg_call& call);      // map.cc, map_float.cc, map_integer.cc, map_cast.cc
PlanPtr make_copy(const tg_host* host, const tg_call& call);     // copy.cc
PlanPtr make_fill(const tg_host* host, const tg_call& call);     // fill.cc
PlanPtr make_iota(const tg_host* host, const tg_call& call);     // iota.cc
PlanPtr make_random(const tg_host* host, const tg_call& call);   // random.cc
PlanPtr make_reduce(const tg_host* host, const tg_call& call);   // reduce.cc
PlanPtr make_scan(const tg_host* host, const tg_call& call);     // scan.cc
PlanPtr make_matmul(const tg_host* host, const tg_call& call);   // matmul.cc
PlanPtr make_gather(const tg_host* host, const tg_call& call);   // gather.cc
PlanPtr make_scatter(const tg_host* host, const tg_call& call);  // scatter.cc
PlanPtr make_sort(const tg_host* host, const tg_call& call);     // sort.cc

// Leaf ops: what does not decompose onto the floor.
PlanPtr make_cholesky(const tg_host* host, const tg_call& call);          // cholesky.cc
PlanPtr make_lu(const tg_host* host, const tg_call& call);                // lu.cc
PlanPtr make_qr(const tg_host* host, const tg_call& call);                // qr.cc
PlanPtr make_svd(const tg_host* host, const tg_call& call);               // svd.cc
PlanPtr make_eig(const tg_host* host, const tg_call& call);               // eig.cc
PlanPtr make_eigh(const tg_host* host, const tg_call& call);              // eigh.cc
PlanPtr make_triangular_solve(const tg_host* host, const tg_call& call);  // triangular_solve.cc
PlanPtr make_fft(const tg_host* host, const tg_call& call);               // fft.cc

}  // namespace tg::reference
