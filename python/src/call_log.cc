// SPDX-License-Identifier: Apache-2.0
// _CallLog: which of some ops were called meanwhile, for tg.summary. _CallTrace: who ran them, for the page of coverage.
#include <tengen/call_log.h>
#include <tengen/runtime.h>

#include "py.h"

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

namespace tg::py {
namespace {

namespace pb = pybind11;

struct PyCallLog {
  std::vector<const Op*> ops;
  std::unique_ptr<CallLog> log;
};

struct PyCallTrace {
  Why trace, *outer = nullptr;
};

pb::list shapes_of(const std::vector<Ints>& shapes) {
  pb::list out;
  for (const Ints& s : shapes) {
    pb::tuple t(s.size());
    for (size_t i = 0; i < s.size(); ++i) t[i] = s[i];
    out.append(t);
  }
  return out;
}

}  // namespace

void add_call_log(PyObject* module) {
  auto m = pb::reinterpret_borrow<pb::module_>(module);
  pb::class_<PyCallLog>(m, "_CallLog", "Notes calls of the named ops while it is entered.")
      .def(pb::init([](const std::vector<std::string>& names) {
        auto out = std::make_unique<PyCallLog>();
        for (const std::string& name : names) {
          const Op* op = find_op(name);
          if (!op) throw pb::value_error("there is no op " + name);
          out->ops.push_back(op);
        }
        return out;
      }))
      .def("__enter__",
           [](PyCallLog& self) -> PyCallLog& {
             self.log = std::make_unique<CallLog>(self.ops);
             return self;
           })
      .def("__exit__", [](PyCallLog& self, const pb::args&) { self.log.reset(); })
      .def(
          "take",
          [](PyCallLog& self) {
            pb::list out;
            if (self.log)
              for (const CallLog::Entry& e : self.log->take())
                out.append(pb::make_tuple(e.op->name, shapes_of(e.inputs), shapes_of(e.outputs)));
            return out;
          },
          "(name, input shapes, output shapes) of every call since the last take.");
  pb::class_<PyCallTrace>(m, "_CallTrace", "Notes who runs the calls of this thread while it is entered.")
      .def(pb::init<>())
      .def("__enter__",
           [](PyCallTrace& self) -> PyCallTrace& {
             self.trace = {};
             self.outer = set_trace(&self.trace);
             return self;
           })
      .def("__exit__", [](PyCallTrace& self, const pb::args&) { set_trace(self.outer); })
      .def(
          "steps",
          [](const PyCallTrace& self) {
            pb::list out;
            for (const WhyStep& s : self.trace.steps) out.append(pb::make_tuple(s.op, s.dtypes, s.how));
            return out;
          },
          "(op, dtypes of its inputs, \"plugin/kernel\" or \"decomposition\") of every sort of call, in the order of the first ones.");
}

}  // namespace tg::py
