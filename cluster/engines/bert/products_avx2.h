/* Matrix products on rows of float32, for x86-64 processors with AVX2 and FMA. The weights are laid out
 * beforehand. bert_avx2.c spends nine tenths of its time here.
 *
 * A weight of (n, k) is kept in panels of 16 outputs, each of k rows of 16 numbers, so that one step of the
 * kernel multiplies one line of the cache. The kernel holds 6 rows by 16 outputs in registers (Goto and van de
 * Geijn 2008, "Anatomy of high-performance matrix multiplication", doi:10.1145/1356052.1356053): twelve sums, two
 * halves of a line and one number of a row take fifteen of the sixteen registers.
 *
 * Rows can be taken in pairs, with seven eighths of the multiplications: one level of Strassen 1969, "Gaussian
 * elimination is not optimal", doi:10.1007/BF02165411, in Winograd's form with fifteen additions. The two rows of
 * a pair share their rounding errors.
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

/* In pairs: a1 is the first row of a pair and a2 the second, each in two halves; b is the weight, halved both ways.
 *
 *     s1 = a21 + a22, s2 = s1 - a11, s3 = a11 - a21, s4 = a12 - s2
 *     t1 = b12 - b11, t2 = b22 - t1, t3 = b22 - b12, t4 = t2 - b21
 *     p = a11 b11, c11 = p + a12 b21, u = p + s2 t2, v = u + s1 t1, w = u + s3 t3, c12 = v + s4 b22, c21 = w - a22 t4, c22 = v + w - u
 *
 * The c are the halves of the results: seven products of half the depth for half the outputs, with one row for
 * each pair; each product adds to an existing sum. The t are computed once, when the weight is laid out. No product
 * contains a21.
 */

enum { A11, A12, A22, S1, S2, S3, S4, FACTORS };

/* The factors of the pairs, each (pairs, depth / 2). */
typedef struct {
    const float *factor[FACTORS];
    int64_t step[FACTORS];
} pairs;

/* Size of the factors of one pair, in numbers. */
static int64_t sums_step(int64_t depth) {
    return 2 * depth + PAD;
}

static int64_t factors_step(int64_t depth) {
    return FACTORS * depth / 2 + PAD;
}

AVX2_INLINE void store_sums(__m256 a11, __m256 a12, __m256 a21, __m256 a22, float *sums, int64_t half) {
    const __m256 s1 = _mm256_add_ps(a21, a22), s2 = _mm256_sub_ps(s1, a11);
    _mm256_storeu_ps(sums, s1);
    _mm256_storeu_ps(sums + half, s2);
    _mm256_storeu_ps(sums + 2 * half, _mm256_sub_ps(a11, a21));
    _mm256_storeu_ps(sums + 3 * half, _mm256_sub_ps(a12, s2));
}

/* Take rows x (2 * count, depth) as pairs, and write their factors to the space. */
AVX2 static pairs pairs_of_rows(const float *x, int64_t x_step, int64_t count, int64_t depth, float *space) {
    const int64_t half = depth / 2, step = sums_step(depth);
    for (int64_t pair = 0; pair < count; pair++) {
        const float *a1 = x + 2 * pair * x_step, *a2 = a1 + x_step;
        for (int64_t i = 0; i < half; i += 8)
            store_sums(_mm256_loadu_ps(a1 + i), _mm256_loadu_ps(a1 + half + i), _mm256_loadu_ps(a2 + i), _mm256_loadu_ps(a2 + half + i),
                       space + pair * step + i, half);
    }
    return (pairs){{x, x + half, x + x_step + half, space, space + half, space + 2 * half, space + 3 * half},
                   {2 * x_step, 2 * x_step, 2 * x_step, step, step, step, step}};
}

/* All factors of pairs in a space, row by row. */
static pairs pairs_in(const float *space, int64_t depth) {
    pairs x;
    for (int i = 0; i < FACTORS; i++) x.factor[i] = space + i * depth / 2, x.step[i] = factors_step(depth);
    return x;
}

enum { U, V, W, C11, C12, C21, SUMS };

/* The sums of the pairs for one panel of each half of the outputs, each (count, 16). */
static void panel_sums(const pairs *x, int64_t count, const linear *l, int64_t depth, int64_t outputs, int64_t output,
                       float sums[SUMS][PAIRS * PANEL]) {
    const int64_t half = depth / 2, size = half * PANEL, across = outputs / 2;
    const float *b1 = l->panels + output * depth, *b22 = l->panels + (output + across) * depth + size, *t = l->combined + 2 * output * depth;
    const struct {
        int factor, from, to;
        const float *panel;
    } products[] = {
        {A11, -1, U, b1},   {A12, U, C11, b1 + size}, {S2, U, U, t}, {S1, U, V, t + size}, {S4, V, C12, b22}, {S3, U, W, t + 2 * size},
        {A22, W, C21, t + 3 * size},
        {0, 0, 0, b1 + 2 * size}, /* the first line of the next panel */
    };
    for (int i = 0; i < FACTORS; i++) {
        const int factor = products[i].factor, from = products[i].from;
        panel_product(x->factor[factor], x->step[factor], count, products[i].panel, half, from < 0 ? NULL : sums[from], sums[products[i].to], PANEL,
                      NULL, NONE, products[i + 1].panel, i + 1 < FACTORS || output + PANEL < across ? half : 0);
    }
}

typedef struct {
    __m256 c11, c12, c21, c22;
} results;

/* Eight numbers of each half of a pair's two rows, from the sums and the bias. */
AVX2_INLINE results results_at(float sums[SUMS][PAIRS * PANEL], int64_t at, const float *bias, int64_t across) {
    const __m256 one = _mm256_loadu_ps(bias), two = _mm256_loadu_ps(bias + across);
    const __m256 rest = _mm256_sub_ps(_mm256_loadu_ps(sums[W] + at), _mm256_loadu_ps(sums[U] + at));
    return (results){
        _mm256_add_ps(_mm256_loadu_ps(sums[C11] + at), one),
        _mm256_add_ps(_mm256_loadu_ps(sums[C12] + at), two),
        _mm256_add_ps(_mm256_loadu_ps(sums[C21] + at), one),
        _mm256_add_ps(_mm256_add_ps(_mm256_loadu_ps(sums[V] + at), rest), two),
    };
}

AVX2_INLINE void store_or_add(float *y, __m256 value, int adds) {
    _mm256_storeu_ps(y, adds ? _mm256_add_ps(value, _mm256_loadu_ps(y)) : value);
}

/* y (2 * count, outputs) = x * weight + bias; added to y if `adds`; for at most PAIRS pairs. */
AVX2 static void paired_product(const pairs *x, int64_t count, const linear *l, int64_t depth, int64_t outputs, float *y, int64_t y_step,
                                int adds) {
    const int64_t across = outputs / 2;
    float sums[SUMS][PAIRS * PANEL] __attribute__((aligned(64)));
    for (int64_t output = 0; output < across; output += PANEL) {
        panel_sums(x, count, l, depth, outputs, output, sums);
        for (int64_t pair = 0; pair < count; pair++) {
            float *first = y + 2 * pair * y_step + output, *second = first + y_step;
            for (int64_t i = 0; i < PANEL; i += 8) {
                const results c = results_at(sums, pair * PANEL + i, l->bias + output + i, across);
                store_or_add(first + i, c.c11, adds);
                store_or_add(first + across + i, c.c12, adds);
                store_or_add(second + i, c.c21, adds);
                store_or_add(second + across + i, c.c22, adds);
            }
        }
    }
}

/* The same with the activation; the results are written as the pairs of the next product. */
AVX2 static pairs paired_product_to_pairs(const pairs *x, int64_t count, const linear *l, int64_t depth, int64_t outputs, activation then,
                                          float *space) {
    const int64_t across = outputs / 2;
    float sums[SUMS][PAIRS * PANEL] __attribute__((aligned(64)));
    for (int64_t output = 0; output < across; output += PANEL) {
        panel_sums(x, count, l, depth, outputs, output, sums);
        for (int64_t pair = 0; pair < count; pair++) {
            float *to = space + pair * factors_step(outputs) + output;
            for (int64_t i = 0; i < PANEL; i += 8) {
                const results c = results_at(sums, pair * PANEL + i, l->bias + output + i, across);
                const __m256 a11 = activated8(c.c11, then), a12 = activated8(c.c12, then), a21 = activated8(c.c21, then),
                             a22 = activated8(c.c22, then);
                _mm256_storeu_ps(to + A11 * across + i, a11);
                _mm256_storeu_ps(to + A12 * across + i, a12);
                _mm256_storeu_ps(to + A22 * across + i, a22);
                store_sums(a11, a12, a21, a22, to + S1 * across + i, across);
            }
        }
    }
    return pairs_in(space, outputs);
}

/* y (rows, outputs) = x (rows, depth) * weight + bias; added to y if `adds`. The number of rows is even; they are
 * taken in pairs. */
static void product_in_pairs(const float *x, int64_t x_step, int64_t rows, const linear *l, int64_t depth, int64_t outputs, float *y,
                             int64_t y_step, int adds, float *space) {
    const int64_t parts = parts_of(rows / 2, PAIRS);
    for (int64_t part = 0; part < parts; part++) {
        const int64_t first = part_at(rows / 2, parts, part), count = part_at(rows / 2, parts, part + 1) - first;
        const pairs some = pairs_of_rows(x + 2 * first * x_step, x_step, count, depth, space);
        paired_product(&some, count, l, depth, outputs, y + 2 * first * y_step, y_step, adds);
    }
}

/* Copy a weight of (n, k) to panels; n is a multiple of 16. */
static void pack(const float *weight, int64_t n, int64_t k, float *panels) {
    for (int64_t first = 0; first < n; first += PANEL)
        for (int64_t i = 0; i < k; i++)
            for (int64_t output = first; output < first + PANEL; output++) *panels++ = weight[output * k + i];
}

/* The factors of pairs besides the panels themselves, n * k numbers: t2, t1, t3 and -t4 for each panel of the
 * first half of the outputs. n and k are multiples of 32. */
static void combine(const float *panels, int64_t n, int64_t k, float *combined) {
    const int64_t size = k / 2 * PANEL;
    for (int64_t output = 0; output < n / 2; output += PANEL, combined += 4 * size) {
        const float *b11 = panels + output * k, *b21 = b11 + size, *b12 = b11 + n / 2 * k, *b22 = b12 + size;
        for (int64_t i = 0; i < size; i++) {
            const float t1 = b12[i] - b11[i], t2 = b22[i] - t1;
            combined[i] = t2;
            combined[size + i] = t1;
            combined[2 * size + i] = b22[i] - b12[i];
            combined[3 * size + i] = b21[i] - t2;
        }
    }
}
