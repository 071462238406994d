/* Matrix products on rows of float32, for x86-64 processors with AVX2 and FMA. The weights are laid out
 * beforehand. bert_avx2.c spends nine tenths of its time here.
 *
 * A weight of (n, k) is kept in panels of 16 outputs, each of k rows of 16 numbers, so that one step of the
 * kernel multiplies one line of the cache. The kernel holds 6 rows by 16 outputs in registers (Goto and van de
 * Geijn 2008, "Anatomy of high-performance matrix multiplication", doi:10.1145/1356052.1356053): twelve sums, two
 * halves of a line and one number of a row take fifteen of the sixteen registers.
 *
 * pairs_avx2.h has the products of rows in pairs.
 */

#include <immintrin.h>
#include <stdint.h>

#define AVX2 __attribute__((target("avx2,fma")))
#define AVX2_INLINE static inline __attribute__((always_inline, target("avx2,fma")))

enum {
    PANEL = 16,  /* outputs of a panel: two registers, one line of the cache */
    TILE = 6,    /* rows of a tile */
    STEP = 4,    /* numbers of a row that are multiplied between two prefetches */
    DEPTH = 384, /* rows of a panel that stay in the first cache while the tokens pass */
    ROWS = 96,   /* rows that pass all panels before the next rows do */
    PAIRS = ROWS / 2,
    PAD = 16     /* extra numbers between rows; rows at a distance of a power of two would share a few lines of the cache */
};

typedef enum { NONE, GELU, RELU } activation;

typedef struct {
    const float *panels, *bias;
    const float *combined; /* the same number of numbers for pairs of rows, or NULL */
} linear;

/* Unroll early, so that variables indexed by the loop can be in registers. */
#if defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 6")
#endif

static int64_t least(int64_t a, int64_t b) {
    return a < b ? a : b;
}

static int64_t greatest(int64_t a, int64_t b) {
    return a > b ? a : b;
}

/* Number of parts of at most this size; 0 if the whole is empty. */
static int64_t parts_of(int64_t whole, int64_t most) {
    return most > 0 ? (whole + most - 1) / most : 0;
}

/* Start of a part, by its number, if the whole is cut into equal parts. */
static int64_t part_at(int64_t whole, int64_t parts, int64_t number) {
    return whole * number / parts;
}

/* 2 to the power x, for x <= 0: 2^n * 2^f with |f| <= 1/2, where 2^f is the Taylor series of e^(f ln 2) to the
 * seventh power (error 5e-9). Results below 2^-115 become 2^-115, because products with denormal numbers are slow. */
AVX2_INLINE __m256 power8(__m256 x) {
    x = _mm256_max_ps(x, _mm256_set1_ps(-115.0f));
    const __m256 n = _mm256_round_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC), f = _mm256_sub_ps(x, n);
    __m256 power = _mm256_set1_ps(1.525273380e-5f);
    power = _mm256_fmadd_ps(power, f, _mm256_set1_ps(1.540353039e-4f));
    power = _mm256_fmadd_ps(power, f, _mm256_set1_ps(1.333355815e-3f));
    power = _mm256_fmadd_ps(power, f, _mm256_set1_ps(9.618129108e-3f));
    power = _mm256_fmadd_ps(power, f, _mm256_set1_ps(5.550410866e-2f));
    power = _mm256_fmadd_ps(power, f, _mm256_set1_ps(2.402265070e-1f));
    power = _mm256_fmadd_ps(power, f, _mm256_set1_ps(6.931471806e-1f));
    power = _mm256_fmadd_ps(power, f, _mm256_set1_ps(1.0f));
    const __m256i exponent = _mm256_slli_epi32(_mm256_cvtps_epi32(n), 23);
    return _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(power), exponent));
}

/* GELU: x * (1 + erf(x / sqrt 2)) / 2. With q = erfc(|x| / sqrt 2) it is max(x, 0) - |x| * q / 2, which has no
 * cancellation. q is from Abramowitz and Stegun, Handbook of Mathematical Functions, 7.1.26: error 1.5e-7. */
AVX2_INLINE __m256 gelu8(__m256 x) {
    const __m256 size = _mm256_andnot_ps(_mm256_set1_ps(-0.0f), x), one = _mm256_set1_ps(1.0f);
    const __m256 t = _mm256_div_ps(one, _mm256_fmadd_ps(size, _mm256_set1_ps(0.231641888f), one)); /* 0.3275911 / sqrt 2 */
    const __m256 bell = power8(_mm256_mul_ps(_mm256_mul_ps(x, x), _mm256_set1_ps(-0.721347520f))); /* e^(-x^2 / 2) */
    __m256 q = _mm256_set1_ps(1.061405429f);
    q = _mm256_fmadd_ps(q, t, _mm256_set1_ps(-1.453152027f));
    q = _mm256_fmadd_ps(q, t, _mm256_set1_ps(1.421413741f));
    q = _mm256_fmadd_ps(q, t, _mm256_set1_ps(-0.284496736f));
    q = _mm256_fmadd_ps(q, t, _mm256_set1_ps(0.254829592f));
    q = _mm256_mul_ps(_mm256_mul_ps(q, t), bell);
    return _mm256_fnmadd_ps(_mm256_mul_ps(size, _mm256_set1_ps(0.5f)), q, _mm256_max_ps(x, _mm256_setzero_ps()));
}

AVX2_INLINE __m256 activated8(__m256 x, activation then) {
    return then == GELU ? gelu8(x) : then == RELU ? _mm256_max_ps(x, _mm256_setzero_ps()) : x;
}

/* The work of one tile: y = from + bias + x * panel, then the activation. `from` and `bias` are optional. */
typedef struct {
    const float *x;
    int64_t x_step;
    const float *panel;
    int64_t depth;
    float *y;
    int64_t y_step;
    const float *bias; /* 16 numbers, or NULL */
    const float *from; /* with the distance between rows of y; y itself; or NULL */
    activation then;
    const float *ahead; /* memory that is needed next and prefetched: number of lines, and lines per step */
    int64_t lines, pace;
} tile;

/* The two instructions of the kernel in assembly: from C, compilers keep an address for every row and move sums
 * between registers, which costs up to a seventh of the speed. A row is addressed by its distance in bytes from
 * the first row. The last operand tells the compiler that this memory is read. */
typedef const float memory[1 << 20];
#define NUMBER(k, times, distance) \
    __asm__("vbroadcastss %c1(%2,%3," #times "), %0" : "=x"(number) : "i"(4 * (k)), "r"(x), "r"(distance), "m"(*(memory *)x))
#define ADD(row) \
    __asm__("vfmadd231ps %2, %1, %0" : "+x"(sum[row][0]) : "x"(number), "x"(low)); \
    __asm__("vfmadd231ps %2, %1, %0" : "+x"(sum[row][1]) : "x"(number), "x"(high))
#define MULTIPLY_AT(k) \
    { \
        const __m256 low = _mm256_loadu_ps(panel + (k) * PANEL), high = _mm256_loadu_ps(panel + (k) * PANEL + 8); \
        __m256 number = _mm256_broadcast_ss(x + (k)); \
        ADD(0); \
        if (rows > 1) { NUMBER(k, 1, one); ADD(1); } \
        if (rows > 2) { NUMBER(k, 2, one); ADD(2); } \
        if (rows > 3) { NUMBER(k, 1, three); ADD(3); } \
        if (rows > 4) { NUMBER(k, 4, one); ADD(4); } \
        if (rows > 5) { NUMBER(k, 1, five); ADD(5); } \
    }

AVX2_INLINE void multiply_tile(const tile *t, const int rows) {
    __m256 sum[TILE][2];
    const float *x = t->x, *panel = t->panel, *ahead = t->ahead;
    const int64_t one = (int64_t)sizeof(float) * t->x_step, three = 3 * one, five = 5 * one;
    UNROLL
    for (int i = 0; i < rows; i++) {
        sum[i][0] = t->bias ? _mm256_loadu_ps(t->bias) : _mm256_setzero_ps();
        sum[i][1] = t->bias ? _mm256_loadu_ps(t->bias + 8) : _mm256_setzero_ps();
        if (t->from) {
            const float *from = t->from + i * t->y_step;
            sum[i][0] = _mm256_add_ps(sum[i][0], _mm256_loadu_ps(from));
            sum[i][1] = _mm256_add_ps(sum[i][1], _mm256_loadu_ps(from + 8));
        }
    }
    int64_t left = t->lines;
    for (int64_t step = t->depth / STEP; step > 0; step--) {
        for (int64_t line = least(t->pace, left); line > 0; line--, left--, ahead += PANEL) _mm_prefetch((const char *)ahead, _MM_HINT_T0);
        MULTIPLY_AT(0)
        MULTIPLY_AT(1)
        MULTIPLY_AT(2)
        MULTIPLY_AT(3)
        x += STEP;
        panel += STEP * PANEL;
    }
    for (int64_t k = t->depth % STEP; k > 0; k--) {
        MULTIPLY_AT(0)
        x++;
        panel += PANEL;
    }
    UNROLL
    for (int i = 0; i < rows; i++) {
        float *y = t->y + i * t->y_step;
        _mm256_storeu_ps(y, sum[i][0]);
        _mm256_storeu_ps(y + 8, sum[i][1]);
    }
    if (t->then == NONE) return;
    for (int i = 0; i < rows; i++)
        for (float *y = t->y + i * t->y_step, *end = y + PANEL; y < end; y += 8) _mm256_storeu_ps(y, activated8(_mm256_loadu_ps(y), t->then));
}

AVX2 static void multiply_1(const tile *t) { multiply_tile(t, 1); }
AVX2 static void multiply_2(const tile *t) { multiply_tile(t, 2); }
AVX2 static void multiply_3(const tile *t) { multiply_tile(t, 3); }
AVX2 static void multiply_4(const tile *t) { multiply_tile(t, 4); }
AVX2 static void multiply_5(const tile *t) { multiply_tile(t, 5); }
AVX2 static void multiply_6(const tile *t) { multiply_tile(t, 6); }

static void (*const MULTIPLY[])(const tile *) = {0, multiply_1, multiply_2, multiply_3, multiply_4, multiply_5, multiply_6};

/* y (rows, 16) = from + bias + x (rows, depth) * panel, then the activation; prefetches lines that are needed
 * next. */
static inline __attribute__((always_inline)) void panel_product(const float *x, int64_t x_step, int64_t rows, const float *panel, int64_t depth,
                                                                const float *from, float *y, int64_t y_step, const float *bias,
                                                                activation then, const float *next, int64_t next_lines) {
    const int64_t tiles = parts_of(rows, TILE), height = rows / tiles, taller = rows % tiles, slices = parts_of(depth, DEPTH);
    for (int64_t slice = 0, begin = 0, end; slice < slices; slice++, begin = end) {
        end = part_at(depth, slices, slice + 1);
        const int last = slice == slices - 1;
        /* Prefetch as many lines after this slice as it has itself; each tile fetches its share, some at each step. */
        int64_t lines = least(end - begin, last ? next_lines : depth - end);
        const int64_t share = parts_of(lines, tiles), pace = parts_of(share, (end - begin) / STEP);
        tile t = {
            .x = x + begin,
            .x_step = x_step,
            .panel = panel + begin * PANEL,
            .depth = end - begin,
            .y = y,
            .y_step = y_step,
            .bias = slice == 0 ? bias : NULL,
            .from = slice == 0 ? from : y,
            .then = last ? then : NONE,
            .ahead = last ? next : panel + end * PANEL,
            .pace = pace,
        };
        for (int64_t number = 0; number < tiles; number++) {
            const int64_t count = height + (number < taller);
            t.lines = least(share, lines);
            MULTIPLY[count](&t);
            t.x += count * x_step;
            t.y += count * y_step;
            if (t.from) t.from += count * y_step;
            t.ahead += t.lines * PANEL;
            lines -= t.lines;
        }
    }
}

/* y (rows, outputs) = x (rows, depth) * panels + bias; added to y if `adds`. Outputs are whole panels. */
static void product(const float *x, int64_t x_step, int64_t rows, const float *panels, int64_t depth, int64_t outputs, float *y,
                    int64_t y_step, const float *bias, int adds, activation then) {
    const int64_t parts = parts_of(rows, ROWS);
    for (int64_t part = 0; part < parts; part++) {
        const int64_t row = part_at(rows, parts, part), some = part_at(rows, parts, part + 1) - row;
        for (int64_t output = 0; output < outputs; output += PANEL) {
            const float *panel = panels + output * depth;
            float *to = y + row * y_step + output;
            panel_product(x + row * x_step, x_step, some, panel, depth, adds ? to : NULL, to, y_step, bias ? bias + output : NULL, then,
                          panel + depth * PANEL, output + PANEL < outputs ? depth : 0);
        }
    }
}

/* Copy a weight of (n, k) to panels; n is a multiple of 16. */
static void pack(const float *weight, int64_t n, int64_t k, float *panels) {
    for (int64_t first = 0; first < n; first += PANEL)
        for (int64_t i = 0; i < k; i++)
            for (int64_t output = first; output < first + PANEL; output++) *panels++ = weight[output * k + i];
}
