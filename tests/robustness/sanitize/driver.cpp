// Puts the CRF kernel through thousands of calls of random and hostile sizes and values: CASES SEED on the command line.
//
// The sanitizers that it is compiled with see what goes wrong inside; here the answers are checked: what no image can
// have is refused, every label is a lane, probabilities sum to 1, and a second run gives the same bytes. Some calls are
// ended at a random time, by what they ask.
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <limits>
#include <map>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "refine.h"

namespace {

using namespace hybridseg;

constexpr float kNan = std::numeric_limits<float>::quiet_NaN(), kInf = std::numeric_limits<float>::infinity();

struct Case {
  std::vector<uint8_t> bytes;
  std::vector<float> floats, table, multiplicity;
  std::vector<int32_t> rows;
  Image image{};
  Priors priors{};
  Limits limits{};
  MeanFieldOptions options{};
  bool sane = true;  // Probabilities can be expected to sum to 1.
  size_t n_pixels = 0;
};

class Draws {
 public:
  explicit Draws(unsigned long seed) : engine_(seed) {}
  int upto(int most) { return int(engine_() % (size_t(most) + 1)); }
  bool once_in(int n) { return upto(n - 1) == 0; }
  float between(float low, float high) { return low + (high - low) * float(engine_() % 10001) / 10000; }
  template <class Item>
  Item of(std::initializer_list<Item> items) {
    return items.begin()[upto(int(items.size()) - 1)];
  }

 private:
  std::mt19937_64 engine_;
};

// A call that is right, of any size that has an edge of its own: blocks of 128, registers of 4 to 256 lanes.
void fill(Case& made, Draws& draw) {
  const bool is_large = draw.once_in(20);
  const auto side = [&] { return is_large ? draw.of({127, 128, 129, 257, 300}) : draw.of({1, 1, 2, 3, 7, 16, 33, 64}); };
  Image& image = made.image;
  image.n_rows = side(), image.n_cols = side(), image.n_bands = 1 + draw.upto(3);
  if (draw.once_in(15)) image.n_rows = 1, image.n_cols = 2000;
  if (draw.once_in(5)) image.first_row = draw.upto(5000), image.first_col = draw.upto(5000);
  made.n_pixels = size_t(image.n_rows * image.n_cols);
  const size_t n_values = made.n_pixels * size_t(image.n_bands);
  const int texture = draw.upto(2), level = draw.upto(255);  // One colour, a few, or noise.
  std::vector<float> values(n_values);
  for (float& value : values) value = texture == 0 ? level : texture == 1 ? 60 * draw.upto(4) : draw.upto(255);
  image.largest_value = draw.once_in(3) ? 255 : 0;
  for (const float value : values) image.largest_value = std::max(image.largest_value, value);
  if (draw.once_in(2)) {
    made.bytes.assign(values.begin(), values.end());
    image.bytes = made.bytes.data();
  } else {
    made.floats = values;
    image.floats = made.floats.data();
  }
  const int n_lanes = is_large ? 1 + draw.upto(20)
                               : draw.of({1, 2, 3, 4, 5, 8, 9, 16, 17, 24, 25, 32, 33, 48, 49, 64, 65, 128, 129, 255, 256});
  size_t n_rows = made.n_pixels;
  if (draw.once_in(2)) {
    n_rows = size_t(1 + draw.upto(9));
    for (size_t i = 0; i < made.n_pixels; i++) made.rows.push_back(draw.upto(int(n_rows) - 1));
  }
  for (size_t i = 0; i < n_rows * size_t(n_lanes); i++) made.table.push_back(draw.between(0, 1));
  for (int i = 0; i < n_lanes; i++) made.multiplicity.push_back(float(1 + draw.upto(3)));
  made.priors = {made.table.data(), n_rows, made.rows.empty() ? nullptr : made.rows.data(), n_lanes,
                 made.multiplicity.data(), draw.of({1e-5f, 1e-8f, 0.0f})};
  made.limits = {draw.of({0.5f, 3.0f, 60.0f, 1e6f}), draw.of({0.5f, 3.0f, 60.0f}), draw.of({0.1f, 1.0f, 20.0f}),
                 draw.once_in(4), draw.upto(4), size_t(1) << 32};
  made.options = {draw.of({0.0f, 3.0f, 1e6f}), draw.of({0.0f, 1.0f, 100.0f}), draw.upto(6), draw.of({0.0, 0.001, 1.0}),
                  InstructionSet::plain, [] {}, draw.of({0.0, 0.1})};
  if (draw.once_in(40)) made.options.n_iterations = 300;
  if (const InstructionSet set = draw.of({kAllSets[0], kAllSets[1], kAllSets[2]}); has_instruction_set(set)) {
    made.options.instructions = set;
  }
}

// What a call may have that no image has: each must be refused before anything is read or taken by it.
using Twist = std::function<void(Case&, Draws&)>;

void spoil_value(Case& made, Draws& draw, float value) {
  made.floats.assign(made.n_pixels * size_t(made.image.n_bands), 1.0f);
  made.floats[size_t(draw.upto(int(made.floats.size()) - 1))] = value;
  made.image.bytes = nullptr;
  made.image.floats = made.floats.data();
}

const std::map<std::string, Twist> kTwists = {
    {"rows", [](Case& c, Draws& d) { c.image.n_rows = d.of<int64_t>({0, -1, INT32_MAX, INT64_MAX, INT64_MIN}); }},
    {"columns", [](Case& c, Draws& d) { c.image.n_cols = d.of<int64_t>({0, -1, INT32_MAX, INT64_MAX, INT64_MIN}); }},
    {"bands", [](Case& c, Draws& d) { c.image.n_bands = d.of<int64_t>({0, -1, 5, 6, INT64_MAX}); }},
    {"place", [](Case& c, Draws& d) { c.image.first_row = d.of({-1, INT32_MAX, INT32_MIN}); }},
    {"not a number", [](Case& c, Draws& d) { spoil_value(c, d, kNan); }},
    {"infinite", [](Case& c, Draws& d) { spoil_value(c, d, d.of({kInf, -kInf, -1e30f, -0.5f})); }},
    {"above the largest", [](Case& c, Draws& d) { spoil_value(c, d, 1e30f), c.image.largest_value = 255; }},
    {"no largest", [](Case& c, Draws& d) { spoil_value(c, d, 1), c.image.largest_value = d.of({kNan, -1.0f, 0.5f}); }},
    {"lanes", [](Case& c, Draws& d) { c.priors.n_lanes = d.of({0, -1, 257, INT32_MAX}); }},
    {"fewer priors", [](Case& c, Draws&) { c.priors.row_of_pixel = nullptr, c.priors.n_rows = c.n_pixels + 1; }},
    {"no such prior", [](Case& c, Draws& d) {
       c.rows.assign(c.n_pixels, 0);
       c.rows.back() = d.of({-1, int(c.priors.n_rows), INT32_MAX, INT32_MIN});
       c.priors.row_of_pixel = c.rows.data();
     }},
    {"widths", [](Case& c, Draws& d) { c.limits.theta = d.of({-1.0f, kNan, -kInf}); }},
    {"colour width", [](Case& c, Draws& d) { c.limits.color_scale = d.of({-1.0f, kNan}); }},
    {"iterations", [](Case& c, Draws& d) { c.options.n_iterations = d.of({-1, INT32_MIN}); }},
};

// What is odd and yet no reason to refuse: the answer may be of no use, but nothing may break.
const std::vector<Twist> kOddities = {
    [](Case& c, Draws& d) { for (float& value : c.table) value = d.of({kNan, kInf, -kInf, 0.0f, -1.0f, 1e38f}); },
    [](Case& c, Draws&) { for (float& value : c.multiplicity) value = 0; },
    [](Case& c, Draws& d) { for (float& value : c.multiplicity) value = d.of({kNan, kInf, -1.0f, 1e38f}); },
    [](Case& c, Draws& d) { c.options.color_compat = d.of({kNan, kInf, 1e38f}); },
    [](Case& c, Draws& d) { c.options.space_compat = d.of({kNan, kInf, 1e38f}); },
    [](Case& c, Draws& d) { c.options.tolerance = d.of({double(kNan), -1.0, 1e300}); },
    [](Case& c, Draws& d) { c.limits.theta = d.of({0.0f, 1e-30f, 1e30f, kInf}); },
    [](Case& c, Draws& d) { c.limits.color_scale = d.of({0.0f, 1e-30f, 1e30f, kInf}); },
    [](Case& c, Draws& d) { c.limits.space_theta = d.of({0.0f, 1e-30f, 1e-3f, kInf}); },
    [](Case& c, Draws& d) { c.limits.max_bytes = d.of<size_t>({0, 1, 1000, 1000000}); },
    [](Case& c, Draws& d) { c.limits.n_threads = d.of({-1, INT32_MIN, 1000, INT32_MAX}); },
    [](Case& c, Draws&) { c.image.first_row = c.image.first_col = 1 << 29; },
    [](Case& c, Draws& d) { c.priors.floor = d.of({kNan, kInf, -1.0f, 1e30f}); },
};

[[noreturn]] void fail(long number, const std::string& what) {
  std::fprintf(stderr, "case %ld: %s\n", number, what.c_str());
  std::exit(1);
}

struct Answer {
  std::string kind = "right";
  std::vector<uint8_t> labels;
  std::vector<float> probs;
};

struct Ended {};

Answer call(const Case& made, bool want_probs) {
  Answer answer;
  answer.labels.assign(made.n_pixels, 255);
  if (want_probs) answer.probs.assign(made.n_pixels * made.multiplicity.size(), -1);
  try {
    refine(made.image, made.priors, made.limits, made.options, answer.labels.data(),
           want_probs ? answer.probs.data() : nullptr);
  } catch (const TooMuchMemory&) {
    answer.kind = "too much memory";
  } catch (const std::overflow_error&) {
    answer.kind = "too fine for the lattice";
  } catch (const std::invalid_argument&) {
    answer.kind = "refused";
  } catch (const Ended&) {
    answer.kind = "ended";
  }
  return answer;
}

// A call that is right, ended the n-th time it asks: between two passes, or within one by one thread of several.
void end_early(long number, Case made, Draws& draw) {
  int n_asked = 0, n_to_ask = draw.once_in(2) ? draw.upto(8) : draw.upto(300);
  const std::thread::id caller = std::this_thread::get_id();
  made.options.seconds_to_ask = draw.of({0.0, 0.0, 1e9});
  made.options.ask = [&] {
    if (std::this_thread::get_id() != caller) fail(number, "another thread asked");
    if (n_asked > n_to_ask) fail(number, "it asked again after its end");
    if (n_asked++ == n_to_ask) throw Ended();
  };
  const std::string kind = call(made, draw.once_in(2)).kind;
  if (kind != (n_asked > n_to_ask ? "ended" : "right")) fail(number, "it was to be ended, and is " + kind);
}

void judge(long number, const Case& made, const Answer& answer) {
  const size_t n_lanes = made.multiplicity.size();
  for (const uint8_t label : answer.labels) {
    if (label >= std::max<size_t>(n_lanes, made.sane ? 0 : 256)) fail(number, "a label that is no lane");
  }
  for (size_t pixel = 0; made.sane && pixel < answer.probs.size() / n_lanes; pixel++) {
    double sum = 0;
    for (size_t i = 0; i < n_lanes; i++) sum += double(answer.probs[pixel * n_lanes + i]) * made.multiplicity[i];
    if (!(std::abs(sum - 1) < 1e-3)) fail(number, "probabilities that sum to " + std::to_string(sum));
  }
}

}  // namespace

int main(int argc, char** argv) {
  const long n_cases = argc > 1 ? std::atol(argv[1]) : 2000;
  const unsigned long seed = argc > 2 ? std::strtoul(argv[2], nullptr, 10) : 0;
  std::map<std::string, long> counts;
  for (long number = 0; number < n_cases; number++) {
    Draws draw(seed * 1000003 + (unsigned long)number);
    Case made;
    fill(made, draw);
    const int kind = draw.upto(3);  // Half of them are right, the others odd or hostile.
    if (kind == 0) {
      made.sane = false;
      kOddities[size_t(draw.upto(int(kOddities.size()) - 1))](made, draw);
    } else if (kind == 1) {
      auto twist = kTwists.begin();
      std::advance(twist, draw.upto(int(kTwists.size()) - 1));
      twist->second(made, draw);
      if (call(made, true).kind != "refused") fail(number, "was not refused: " + twist->first);
      counts["refused"]++;
      continue;
    }
    const bool want_probs = draw.once_in(2);
    const Answer answer = call(made, want_probs);
    counts[answer.kind]++;
    if (answer.kind != "right") {
      if (answer.kind == "refused") fail(number, "a call that is right was refused");
      continue;
    }
    judge(number, made, answer);
    end_early(number, made, draw);
    // Two calls at once, as two images of a job are refined: neither sees the other.
    Answer other, again;
    std::thread beside([&] { other = call(made, want_probs); });
    again = call(made, want_probs);
    beside.join();
    if (other.labels != answer.labels || again.labels != answer.labels) fail(number, "a second run gives other labels");
  }
  for (const auto& [kind, count] : counts) std::printf("%-26s %ld\n", kind.c_str(), count);
  std::printf("%-26s %ld, no fault\n", "calls", n_cases);
}
