// hybridseg.crf._kernel: one function from arrays to arrays.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <stdexcept>
#include <string>
#include <utility>

#include "refine.h"

namespace py = pybind11;

namespace hybridseg {
namespace {

template <class Item>
using Input = py::array_t<Item, py::array::c_style>;

void ask(const py::function& checkpoint) {
  const py::gil_scoped_acquire acquired;
  if (PyErr_CheckSignals() != 0) throw py::error_already_set();
  checkpoint();
}

// The shapes of the arrays among one another: their sizes and values are checked by `refine`.
void check_shapes(const py::array& image, const Input<float>& priors, const Input<float>& multiplicity,
                  py::ssize_t n_known) {
  if (image.ndim() != 3) throw std::invalid_argument("image must be (rows, cols, bands)");
  if (priors.ndim() != 2 || multiplicity.ndim() != 1 || multiplicity.shape(0) != priors.shape(1)) {
    throw std::invalid_argument("priors must be (n, lanes), and multiplicity (lanes,)");
  }
  if (priors.shape(1) > 256) throw std::invalid_argument("there are 1 to 256 lanes");
  if (n_known != image.shape(0) * image.shape(1)) throw std::invalid_argument("priors are not of as many pixels");
}

py::tuple infer_arrays(const py::array& image, float largest_value, std::pair<int, int> origin,
                       const Input<float>& priors, float floor, const py::object& row_of_pixel,
                       const Input<float>& multiplicity, float theta, float space_theta, float color_scale,
                       float space_compat, float color_compat, int n_iterations, double tolerance,
                       bool exchanged_sides, int n_threads, size_t max_bytes, const std::string& instruction_set,
                       bool want_probs, const py::function& checkpoint) {
  Input<int32_t> rows;
  if (!row_of_pixel.is_none()) rows = row_of_pixel.cast<Input<int32_t>>();
  check_shapes(image, priors, multiplicity, row_of_pixel.is_none() ? priors.shape(0) : rows.size());
  const bool is_bytes = py::isinstance<py::array_t<uint8_t>>(image);
  const Input<uint8_t> bytes = is_bytes ? Input<uint8_t>(image) : Input<uint8_t>(0);
  const Input<float> floats = is_bytes ? Input<float>(0) : Input<float>(image);
  const Image pixels{is_bytes ? bytes.data() : nullptr, floats.data(), image.shape(0), image.shape(1),
                     image.shape(2), origin.first, origin.second, largest_value};
  const Priors known{priors.data(),  size_t(priors.shape(0)), row_of_pixel.is_none() ? nullptr : rows.data(),
                     int(priors.shape(1)), multiplicity.data(), floor};
  const Limits limits{theta, space_theta, color_scale, exchanged_sides, n_threads, max_bytes};
  const MeanFieldOptions options{space_compat, color_compat, n_iterations, tolerance, parse_set(instruction_set),
                                 [&] { ask(checkpoint); }};
  py::array_t<uint8_t> labels({image.shape(0), image.shape(1)});
  py::array_t<float> probs({want_probs ? image.shape(0) : 0, image.shape(1), priors.shape(1)});
  uint8_t* label_values = labels.mutable_data();
  float* prob_values = want_probs ? probs.mutable_data() : nullptr;
  MeanFieldResult result;
  {
    const py::gil_scoped_release released;
    result = refine(pixels, known, limits, options, label_values, prob_values);
  }
  return py::make_tuple(labels, probs, result.n_iterations, result.changed);
}

}  // namespace
}  // namespace hybridseg

PYBIND11_MODULE(_kernel, module) {
  module.doc() = "Mean-field inference in a dense CRF.";
  // Its message is the number of bytes that are needed.
  py::register_exception<hybridseg::TooMuchMemory>(module, "TooMuchMemory", PyExc_MemoryError);
  module.def("infer", &hybridseg::infer_arrays, py::arg("image"), py::kw_only(), py::arg("largest_value"),
             py::arg("origin"), py::arg("priors"), py::arg("floor"), py::arg("row_of_pixel"), py::arg("multiplicity"),
             py::arg("theta"), py::arg("space_theta"), py::arg("color_scale"), py::arg("space_compat"),
             py::arg("color_compat"), py::arg("n_iterations"), py::arg("tolerance"), py::arg("exchanged_sides"),
             py::arg("n_threads"), py::arg("max_bytes"), py::arg("instruction_set"), py::arg("want_probs"),
             py::arg("checkpoint"));
  module.def("list_instruction_sets", [] {
    py::list names;
    for (const hybridseg::InstructionSet set : hybridseg::kAllSets) {
      if (hybridseg::has_instruction_set(set)) names.append(hybridseg::name_set(set));
    }
    return names;
  });
}
