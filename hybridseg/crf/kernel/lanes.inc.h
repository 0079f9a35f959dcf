// One float for each class of a pixel or vertex, worked on together. Included into the namespace of an instruction set.

#define HYBRIDSEG_INLINE inline __attribute__((always_inline))

// A vector that the compiler cuts into the registers that the instruction set has.
template <int width>
struct VectorOf {
  typedef float Floats __attribute__((vector_size(width * 4), aligned(width * 4), may_alias));
  typedef int32_t Ints __attribute__((vector_size(width * 4), aligned(width * 4), may_alias));
};

template <int width>
using Floats = typename VectorOf<width>::Floats;

template <int width>
HYBRIDSEG_INLINE Floats<width / 2> low_half(const Floats<width>& x) {
  Floats<width / 2> half;
  std::memcpy(&half, &x, sizeof half);
  return half;
}

template <int width>
HYBRIDSEG_INLINE Floats<width / 2> high_half(const Floats<width>& x) {
  Floats<width / 2> half;
  std::memcpy(&half, reinterpret_cast<const char*>(&x) + sizeof half, sizeof half);
  return half;
}

template <int width>
HYBRIDSEG_INLINE float sum_of(const Floats<width>& x) {
  if constexpr (width == 2) {
    return x[0] + x[1];
  } else {
    return sum_of<width / 2>(low_half<width>(x) + high_half<width>(x));
  }
}

template <int width>
HYBRIDSEG_INLINE float largest_of(const Floats<width>& x) {
  if constexpr (width == 2) {
    return x[0] > x[1] ? x[0] : x[1];
  } else {
    const Floats<width / 2> low = low_half<width>(x), high = high_half<width>(x);
    return largest_of<width / 2>(low > high ? low : high);
  }
}

// e to the x, for x <= 0, to about two units in the last place (the polynomial of Cephes' expf).
template <int width>
HYBRIDSEG_INLINE Floats<width> exp_of(Floats<width> x) {
  using Float = Floats<width>;
  using Int = typename VectorOf<width>::Ints;
  const Float floor = Float{} - 87.0f;
  x = x > floor ? x : floor;
  constexpr float round_to_int = 12582912.0f;  // 1.5 * 2^23: adding it leaves no room for a fraction.
  const Float n = (x * 1.44269504f + round_to_int) - round_to_int;
  Float r = x - n * 0.693359375f;
  r = r + n * 2.12194440e-4f;
  Float p = r * 1.9875691500e-4f + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * (r * r) + r + 1.0f;
  const Int exponent = (__builtin_convertvector(n, Int) + 127) << 23;
  Float power_of_two;
  std::memcpy(&power_of_two, &exponent, sizeof exponent);
  return p * power_of_two;
}

// `count` vectors of `width` floats.
template <int width, int count>
struct Lanes {
  static constexpr int size = width * count;
  Floats<width> part[count];

  HYBRIDSEG_INLINE static Lanes load(const float* from) {
    Lanes x;
    for (int i = 0; i < count; i++) x.part[i] = reinterpret_cast<const Floats<width>*>(from)[i];
    return x;
  }
  HYBRIDSEG_INLINE static Lanes fill(float value) {
    Lanes x;
    for (int i = 0; i < count; i++) x.part[i] = Floats<width>{} + value;
    return x;
  }
  HYBRIDSEG_INLINE void store(float* to) const {
    for (int i = 0; i < count; i++) reinterpret_cast<Floats<width>*>(to)[i] = part[i];
  }
  HYBRIDSEG_INLINE Lanes operator+(const Lanes& other) const {
    Lanes x;
    for (int i = 0; i < count; i++) x.part[i] = part[i] + other.part[i];
    return x;
  }
  HYBRIDSEG_INLINE Lanes operator*(const Lanes& other) const {
    Lanes x;
    for (int i = 0; i < count; i++) x.part[i] = part[i] * other.part[i];
    return x;
  }
  // this + a * b
  HYBRIDSEG_INLINE Lanes plus(float a, const Lanes& b) const {
    Lanes x;
    for (int i = 0; i < count; i++) x.part[i] = part[i] + b.part[i] * a;
    return x;
  }
  HYBRIDSEG_INLINE Lanes scaled(float a) const {
    Lanes x;
    for (int i = 0; i < count; i++) x.part[i] = part[i] * a;
    return x;
  }
  HYBRIDSEG_INLINE float sum() const {
    Floats<width> total = part[0];
    for (int i = 1; i < count; i++) total += part[i];
    return sum_of<width>(total);
  }
  HYBRIDSEG_INLINE float largest() const {
    Floats<width> most = part[0];
    for (int i = 1; i < count; i++) most = part[i] > most ? part[i] : most;
    return largest_of<width>(most);
  }
  HYBRIDSEG_INLINE Lanes exp_below(float top) const {
    Lanes x;
    for (int i = 0; i < count; i++) x.part[i] = exp_of<width>(part[i] - top);
    return x;
  }
};

// A single lane, for the normalisation.
template <>
struct Lanes<1, 1> {
  static constexpr int size = 1;
  float part;
  HYBRIDSEG_INLINE static Lanes load(const float* from) { return {*from}; }
  HYBRIDSEG_INLINE static Lanes fill(float value) { return {value}; }
  HYBRIDSEG_INLINE void store(float* to) const { *to = part; }
  HYBRIDSEG_INLINE Lanes operator+(const Lanes& other) const { return {part + other.part}; }
  HYBRIDSEG_INLINE Lanes plus(float a, const Lanes& b) const { return {part + b.part * a}; }
};
