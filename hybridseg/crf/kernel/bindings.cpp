// hybridseg.crf._kernel: one function from arrays to arrays.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <memory>
#include <stdexcept>
#include <string>
#include <utility>

#include "meanfield.h"
#include "parallel.h"

namespace py = pybind11;

namespace hybridseg {
namespace {

template <class Item>
using Input = py::array_t<Item, py::array::c_style>;

constexpr const char* kSetNames[] = {"plain", "avx2", "avx512"};

InstructionSet parse_set(const std::string& name) {
  if (name.empty()) return best_instruction_set();
  for (int i = 0; i < 3; i++) {
    if (name == kSetNames[i] && has_instruction_set(InstructionSet(i))) return InstructionSet(i);
  }
  throw std::invalid_argument("this processor has no instruction set '" + name + "'");
}

void check_signals() {
  const py::gil_scoped_acquire acquired;
  if (PyErr_CheckSignals() != 0) throw py::error_already_set();
}

// The size of an image, and where it lies in the whole one of which it is a part.
struct Extent {
  int n_rows, n_cols, n_bands, first_row, first_col;
};

// Row and column, then every band, each divided by its standard deviation.
template <class Value>
Features color_features(const Value* image, Extent extent, float theta, float color_scale, float largest_value) {
  const int end_row = extent.first_row + extent.n_rows, end_col = extent.first_col + extent.n_cols;
  Features features{2 + extent.n_bands, {end_row / theta, end_col / theta}, {}};
  for (int band = 0; band < extent.n_bands; band++) features.limits[2 + band] = largest_value / color_scale;
  features.write = [=](int row, int col_begin, int col_end, float* to) {
    const Value* values = image + (size_t(row) * extent.n_cols + col_begin) * extent.n_bands;
    for (int col = col_begin; col < col_end; col++) {
      *to++ = (extent.first_row + row) / theta;
      *to++ = (extent.first_col + col) / theta;
      for (int band = 0; band < extent.n_bands; band++) *to++ = float(*values++) / color_scale;
    }
  };
  return features;
}

// Column and row. With the sides exchanged, as the classic program gives them, the pixels are numbered through rows of
// another length.
Features space_features(Extent extent, float theta, bool exchanged_sides) {
  const int end_row = extent.first_row + extent.n_rows, end_col = extent.first_col + extent.n_cols;
  Features features{2, {end_col / theta, end_row / theta}, {}};
  if (exchanged_sides) std::swap(features.limits[0], features.limits[1]);
  features.write = [=](int row, int col_begin, int col_end, float* to) {
    for (int col = col_begin; col < col_end; col++) {
      const size_t number = size_t(row) * extent.n_cols + col;
      *to++ = (exchanged_sides ? int(number % extent.n_rows) : extent.first_col + col) / theta;
      *to++ = (exchanged_sides ? int(number / extent.n_rows) : extent.first_row + row) / theta;
    }
  };
  return features;
}

// What the loops rely on; the values in row_of_pixel are not checked.
void check_shapes(const py::array& image, const Input<float>& priors, const Input<float>& multiplicity,
                  py::ssize_t n_known) {
  if (image.ndim() != 3 || image.shape(2) < 1 || image.shape(2) > kMaxDims - 2 || image.size() == 0) {
    throw std::invalid_argument("image must be (rows, cols, bands), of 1 to 4 bands");
  }
  if (priors.ndim() != 2 || multiplicity.ndim() != 1 || multiplicity.shape(0) != priors.shape(1)) {
    throw std::invalid_argument("priors must be (n, lanes), and multiplicity (lanes,)");
  }
  if (n_known != image.shape(0) * image.shape(1)) throw std::invalid_argument("priors are not of as many pixels");
}

struct TooMuchMemory : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// Refuses a lattice as soon as the number of its vertices is known, before most of its memory is taken. While it is
// built, tables and links take about 75 bytes for each vertex; later its chains take up to 56, beside the values.
void refuse_above(size_t max_bytes, const Lattice& lattice, size_t value_bytes) {
  constexpr size_t bytes_to_build = 75, bytes_of_chains = 56, most_vertices = size_t(INT32_MAX) - kPrefetchMargin;
  const size_t later = value_bytes + (lattice.chains.empty() ? bytes_of_chains * lattice.n_vertices : 0);
  const size_t n_bytes = lattice.count_bytes() + std::max(later, bytes_to_build * lattice.n_vertices);
  if (n_bytes > max_bytes || lattice.n_vertices > most_vertices) throw TooMuchMemory(std::to_string(n_bytes));
}

py::tuple infer_arrays(const py::array& image, float largest_value, std::pair<int, int> origin,
                       const Input<float>& priors, float floor, const py::object& row_of_pixel,
                       const Input<float>& multiplicity, float theta, float space_theta, float color_scale,
                       float space_compat, float color_compat, int n_iterations, double tolerance,
                       bool exchanged_sides, int n_threads, size_t max_bytes, const std::string& instruction_set,
                       bool want_probs) {
  Input<int32_t> rows;
  if (!row_of_pixel.is_none()) rows = row_of_pixel.cast<Input<int32_t>>();
  check_shapes(image, priors, multiplicity, row_of_pixel.is_none() ? priors.shape(0) : rows.size());
  const Extent extent{int(image.shape(0)), int(image.shape(1)), int(image.shape(2)), origin.first, origin.second};
  const bool is_bytes = py::isinstance<py::array_t<uint8_t>>(image);
  const Input<uint8_t> bytes = is_bytes ? Input<uint8_t>(image) : Input<uint8_t>(0);
  const Input<float> floats = is_bytes ? Input<float>(0) : Input<float>(image);
  const Features color_source =
      is_bytes ? color_features(bytes.data(), extent, theta, color_scale, largest_value)
               : color_features(floats.data(), extent, theta, color_scale, largest_value);
  const Features space_source = space_features(extent, space_theta, exchanged_sides);
  if ((color_compat > 0 && !color_source.fit_keys()) || (space_compat > 0 && !space_source.fit_keys())) {
    throw std::overflow_error("lattice keys would overflow");
  }
  const Priors known{priors.data(),  size_t(priors.shape(0)), row_of_pixel.is_none() ? nullptr : rows.data(),
                     int(priors.shape(1)), multiplicity.data(), floor};
  const MeanFieldOptions options{space_compat, color_compat, n_iterations, tolerance, parse_set(instruction_set),
                                 check_signals};
  py::array_t<uint8_t> labels({extent.n_rows, extent.n_cols});
  py::array_t<float> probs({want_probs ? extent.n_rows : 0, extent.n_cols, known.n_lanes});
  uint8_t* label_values = labels.mutable_data();
  float* prob_values = want_probs ? probs.mutable_data() : nullptr;
  MeanFieldResult result;
  {
    const py::gil_scoped_release released;
    const ThreadRelease at_end;
    const BlockOrder order(extent.n_rows, extent.n_cols, n_threads);
    std::unique_ptr<Lattice> color, space;
    const auto checkpoint = [&](const Lattice& lattice) {
      check_signals();
      refuse_above(max_bytes, lattice, count_bytes(order, &lattice, nullptr, known));
    };
    if (color_compat > 0) color = std::make_unique<Lattice>(order, color_source, checkpoint);
    if (space_compat > 0) space = std::make_unique<Lattice>(order, space_source, checkpoint);
    const size_t n_bytes = count_bytes(order, color.get(), space.get(), known) + (color ? color->count_bytes() : 0) +
                           (space ? space->count_bytes() : 0);
    if (n_bytes > max_bytes) throw TooMuchMemory(std::to_string(n_bytes));
    result = infer(order, color.get(), space.get(), known, options, label_values, prob_values);
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
             py::arg("n_threads"), py::arg("max_bytes"), py::arg("instruction_set"), py::arg("want_probs"));
  module.def("list_instruction_sets", [] {
    py::list names;
    for (int i = 0; i < 3; i++) {
      if (hybridseg::has_instruction_set(hybridseg::InstructionSet(i))) names.append(hybridseg::kSetNames[i]);
    }
    return names;
  });
}
