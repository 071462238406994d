/* Matrix products on pairs of rows, with seven eighths of the multiplications of products_avx2.h.
 *
 * One level of Strassen 1969, "Gaussian elimination is not optimal", doi:10.1007/BF02165411, in Winograd's form
 * with fifteen additions. a1 is the first row of a pair and a2 the second, each in two halves; b is the weight,
 * halved both ways:
 *
 *     s1 = a21 + a22, s2 = s1 - a11, s3 = a11 - a21, s4 = a12 - s2
 *     t1 = b12 - b11, t2 = b22 - t1, t3 = b22 - b12, t4 = t2 - b21
 *     p = a11 b11, c11 = p + a12 b21, u = p + s2 t2, v = u + s1 t1, w = u + s3 t3
 *     c12 = v + s4 b22, c21 = w - a22 t4, c22 = v + w - u
 *
 * The c are the halves of the results: seven products of half the depth for half the outputs, with one row for
 * each pair; each product adds to an existing sum. The t are computed once, when the weight is laid out. No
 * product contains a21. The two rows of a pair share their rounding errors.
 */

#include "products_avx2.h"

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
