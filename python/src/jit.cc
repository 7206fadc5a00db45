// SPDX-License-Identifier: Apache-2.0
// _Trace, _Graph, _Program: what tengen._jit is made of.
#include <tengen/model.h>
#include <tengen/passes.h>
#include <tengen/program.h>

#include "autograd/node.h"
#include "graph/recorder.h"
#include "transform/transform.h"
#include "py.h"

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

namespace tg::py {
namespace {

namespace pb = pybind11;

template <class F>
auto translated(F&& f) {
  try {
    return f();
  } catch (const pb::error_already_set&) {
    throw;
  } catch (...) {
    set_python_error();
    throw pb::error_already_set();
  }
}

Tensor tensor_in(const pb::handle& o) {
  if (!is_tensor(o.ptr())) throw pb::type_error(std::string("expected a Tensor, got ") + type_name(o.ptr()));
  return tensor_of(o.ptr());
}
pb::object out(Tensor t) {
  return pb::reinterpret_steal<pb::object>(wrap(std::move(t)));
}
Tensors tensors_in(const pb::sequence& s) {
  Tensors v;
  for (const auto& o : s) v.push_back(tensor_in(o));
  return v;
}
pb::list out_all(Tensors v) {
  pb::list l;
  for (Tensor& t : v) l.append(out(std::move(t)));
  return l;
}

struct PyTrace {
  Recorder recorder;
  std::unique_ptr<CaptureScope> scope;
  std::shared_ptr<Graph> graph;
};

struct PyProgram {
  std::shared_ptr<Graph> graph;
  std::unique_ptr<Program> program;
};

}  // namespace

void add_jit(PyObject* module) {
  auto m = pb::reinterpret_borrow<pb::module_>(module);
  m.def("_has_value", [](const pb::handle& t) { return tensor_in(t).has_value(); });
  m.def("_backward_done", [](const pb::handle& t) { return backward_done(tensor_in(t)); });
  pb::class_<Graph, std::shared_ptr<Graph>>(m, "_Graph", "A static graph.")
      .def_static("parse", [](const std::string& text) { return translated([&] { return std::shared_ptr<Graph>(Graph::parse(text)); }); })
      .def("text", &Graph::text)
      .def("__str__", &Graph::text)
      .def("clone", [](const Graph& g) { return std::shared_ptr<Graph>(g.clone()); })
      .def("optimise", [](Graph& g, int level) {
        return translated([&] {
          pb::list l;
          for (const PassResult& r : optimise(g, level)) l.append(pb::make_tuple(r.name, r.changes, r.ms));
          return l;
        });
      }, "Runs the passes of a level: (name, changes, ms) of each.")
      .def("verify", [](const Graph& g) { translated([&] { g.verify(); }); })
      .def("__len__", [](const Graph& g) { return g.nodes.size(); })
      .def("ops", [](const Graph& g) {
        std::vector<std::string> names;
        for (const auto& n : g.nodes) names.push_back(n->op->name);
        return names;
      })
      .def("bind", [](Graph& g, const std::string& name, const pb::handle& t) {
        for (auto& in : g.inputs)
          if (in->value->name == name) {
            in->bound = tensor_in(t);
            return;
          }
        throw pb::key_error(name);
      })
      .def_property_readonly("arguments", [](const Graph& g) {
        std::vector<std::string> names;
        for (const auto& in : g.inputs)
          if (in->kind == GraphInput::argument) names.push_back(in->value->name);
        return names;
      })
      .def_property_readonly("states", [](const Graph& g) {
        pb::dict d;
        for (const auto& in : g.inputs)
          if (in->kind == GraphInput::state && in->bound.defined()) d[pb::str(in->value->name)] = out(in->bound);
        return d;
      })
      .def("take_strides", [](Graph& g, PyProgram& p, size_t from, size_t n) {
        const auto strides = p.program->output_strides();
        for (size_t i = 0; i < n; ++i) g.inputs.at(i)->strides = strides.at(from + i);
      }, "The first n arguments have the strides of results of a program, from one on.")
      .def_property_readonly("updates", [](const Graph& g) { return g.updates.size(); })
      .def("json", [](const Graph& g) { return translated([&] { return graph_json(g); }); })
      .def_property_readonly("n_outputs", [](const Graph& g) { return g.outputs.size(); })
      .def("cut", [](const Graph& g, size_t n, size_t n_arguments, size_t n_outputs) {
        size_t saved = 0;
        auto [first, second] = translated([&] { return g.cut(n, n_arguments, n_outputs, &saved); });
        return pb::make_tuple(std::shared_ptr<Graph>(std::move(first)), std::shared_ptr<Graph>(std::move(second)), saved);
      });
  m.def("_save_model", [](std::shared_ptr<Graph> g, const std::string& path, const std::map<std::string, std::string>& metadata, const pb::list& samples) {
    translated([&] {
      Model model;
      model.graph = g->clone();
      model.metadata = metadata;
      for (const auto& s : samples) {
        const auto pair = s.cast<pb::tuple>();
        model.samples.push_back({tensors_in(pair[0].cast<pb::sequence>()), tensors_in(pair[1].cast<pb::sequence>())});
      }
      save_model(model, path);
    });
  });
  m.def("_load_model", [](const std::string& path, const pb::object& device) {
    return translated([&] {
      Model model = load_model(path, device.is_none() ? nullptr : to_device(device.ptr()));
      pb::list samples;
      for (ModelSample& s : model.samples) samples.append(pb::make_tuple(out_all(std::move(s.inputs)), out_all(std::move(s.outputs))));
      return pb::make_tuple(std::shared_ptr<Graph>(std::move(model.graph)), model.metadata, samples);
    });
  });
  pb::class_<PyTrace>(m, "_Trace", "Records the calls of this thread while it is entered.")
      .def(pb::init<>())
      .def("argument", [](PyTrace& t, const std::string& name, const pb::handle& like, bool requires_grad, bool contiguous) {
        return translated([&] {
          Tensor x = t.recorder.argument(name, tensor_in(like), contiguous);
          if (requires_grad) x.set_requires_grad(true);
          return out(std::move(x));
        });
      }, pb::arg("name"), pb::arg("like"), pb::arg("requires_grad"), pb::arg("contiguous") = false)
      .def("see", [](PyTrace& t, const pb::sequence& tensors) { translated([&] { t.recorder.see(tensors_in(tensors)); }); })
      .def("name_state", [](PyTrace& t, const pb::handle& x, std::string name) { t.recorder.name_state(tensor_in(x), std::move(name)); })
      .def("__enter__", [](PyTrace& t) -> PyTrace& {
        t.scope = std::make_unique<CaptureScope>(&t.recorder);
        return t;
      })
      .def("__exit__", [](PyTrace& t, const pb::args&) { t.scope.reset(); })
      .def("host_call", [](PyTrace& t) { return t.recorder.host_call(); })
      .def_property_readonly("calls", [](PyTrace& t) { return t.recorder.calls(); })
      .def("leaves", [](PyTrace& t) {
        pb::list l;
        for (const Recorder::Leaf& f : t.recorder.leaves()) l.append(pb::make_tuple(out(f.tensor), f.gradient.defined(), f.dropped));
        return l;
      })
      .def("finish", [](PyTrace& t, const pb::sequence& outputs) {
        return translated([&] {
          const Tensors results = tensors_in(outputs);
          return t.graph = std::shared_ptr<Graph>(t.recorder.finish(results));
        });
      })
      .def("restore_gradients", [](PyTrace& t) { t.recorder.restore_gradients(); })
      .def("survivors", [](PyTrace& t) { return t.recorder.survivors(); })
      .def("keep_survivors", [](PyTrace& t) { translated([&] { t.recorder.keep_survivors(t.graph.get()); }); });
  m.def("_in_transform", [](const pb::sequence& tensors) {
    if (open_levels()) return true;
    for (const auto& o : tensors)
      if (is_tensor(o.ptr()) && impl_of(o.ptr())->transformed) return true;
    return false;
  }, "Whether a function transformation is at work here.");
  pb::class_<PyProgram>(m, "_Program", "A graph that is ready to run.")
      .def(pb::init([](std::shared_ptr<Graph> g, const std::vector<std::vector<double>>& numbers, bool fuse) {
             return translated([&] {
               auto p = std::make_unique<PyProgram>();
               p->program = lower(*g, numbers, {.fuse = fuse});
               p->graph = std::move(g);
               return p;
             });
           }),
           pb::arg("graph"), pb::arg("numbers") = std::vector<std::vector<double>>(), pb::arg("fuse") = true)
      .def("run", [](PyProgram& p, const pb::sequence& arguments, const std::vector<std::vector<double>>& numbers) {
        return translated([&] {
          const Tensors in = tensors_in(arguments);
          Program::Results r;
          {
            GilRelease release;
            r = p.program->run(in, numbers);
          }
          for (size_t i = 0; i < p.graph->gradients.size(); ++i) p.graph->gradients[i].leaf.set_grad(r.gradients[i]);
          return out_all(std::move(r.outputs));
        });
      }, pb::arg("arguments"), pb::arg("numbers") = std::vector<std::vector<double>>())
      .def("fits", [](PyProgram& p) { return p.program->fits(); })
      .def("text", [](PyProgram& p) { return p.program->text(); })
      .def_property_readonly("arena_bytes", [](PyProgram& p) { return p.program->arena_bytes(); })
      .def_property_readonly("result_bytes", [](PyProgram& p) { return p.program->result_bytes(); })
      .def_property_readonly("launches", [](PyProgram& p) { return p.program->launches(); })
      .def_property_readonly("calls", [](PyProgram& p) { return p.program->calls(); });
}

}  // namespace tg::py
