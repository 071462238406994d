/* The forward pass of BERT and related encoders on packed tokens, in float32, for x86-64 processors with AVX2
 * and FMA.
 *
 * Called by compiled.py through ctypes. One call computes one whole batch on the calling thread, and takes a few
 * tokens at a time through each part of a layer. So each step finds the results of the previous one in the
 * core's caches, which separate calls of a library cannot achieve. Every number is computed in the same order
 * whatever else is in the batch, so no bit of a vector depends on its neighbours.
 *
 * Longer inputs are multiplied in pairs of rows (pairs_avx2.h). Both rows of a pair belong to one input, and
 * only the length of an input decides whether it is taken in pairs. An input with an odd number of tokens gets
 * one extra row, to which no token attends.
 */

#include <stdint.h>

#if defined(__x86_64__)

#include <math.h>
#include <stddef.h>
#include <string.h>

#include "pairs_avx2.h"

enum {
    QUERIES = 48, /* tokens whose attention scores are in memory at once */
    BLOCK = 192   /* most rows of inputs that are computed together */
};

typedef struct {
    const float *weight, *bias;
} norm;

typedef struct {
    linear qkv, projection, up, down;
    norm after_attention, after_output;
} layer;

typedef struct {
    int64_t hidden, inner, heads, depth, longest;
    int64_t activation, first_token_only;
    int64_t paired_from; /* from this number of tokens on, an input is taken in pairs of rows */
    double eps;
    const float *words, *positions;
    const float *distance_bias; /* (heads, 2 * longest - 1), or NULL */
    norm embeddings;
    const layer *layers;
} model;

int64_t bert_supported(void);
void bert_pack(const float *weight, int64_t n, int64_t k, float *panels, float *combined);
int64_t bert_workspace(const model *m, const int64_t *lengths, int64_t inputs);
void bert_forward(const model *m, const int32_t *ids, const int64_t *lengths, int64_t inputs, float *workspace, float *vectors);

int64_t bert_supported(void) {
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}

/* Lay out a weight of (n, k); for pairs too, unless combined is NULL. */
void bert_pack(const float *weight, int64_t n, int64_t k, float *panels, float *combined) {
    pack(weight, n, k, panels);
    if (combined) combine(panels, n, k, combined);
}

AVX2_INLINE float sum8(__m256 x) {
    __m128 half = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    half = _mm_add_ps(half, _mm_movehl_ps(half, half));
    return _mm_cvtss_f32(_mm_add_ss(half, _mm_movehdup_ps(half)));
}

AVX2_INLINE float max8(__m256 x) {
    __m128 half = _mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    half = _mm_max_ps(half, _mm_movehl_ps(half, half));
    return _mm_cvtss_f32(_mm_max_ss(half, _mm_movehdup_ps(half)));
}

AVX2 static void normalise_rows(float *x, int64_t step, int64_t rows, int64_t width, const norm *n, float eps) {
    for (float *end = x + rows * step; x < end; x += step) {
        __m256 sum = _mm256_setzero_ps(), squares = _mm256_setzero_ps();
        for (int64_t i = 0; i < width; i += 8) sum = _mm256_add_ps(sum, _mm256_loadu_ps(x + i));
        const __m256 mean = _mm256_set1_ps(sum8(sum) / (float)width);
        for (int64_t i = 0; i < width; i += 8) {
            const __m256 off = _mm256_sub_ps(_mm256_loadu_ps(x + i), mean);
            squares = _mm256_fmadd_ps(off, off, squares);
        }
        const __m256 scale = _mm256_set1_ps(1.0f / sqrtf(sum8(squares) / (float)width + eps));
        for (int64_t i = 0; i < width; i += 8) {
            const __m256 unit = _mm256_mul_ps(_mm256_sub_ps(_mm256_loadu_ps(x + i), mean), scale);
            _mm256_storeu_ps(x + i, _mm256_fmadd_ps(unit, _mm256_loadu_ps(n->weight + i), _mm256_loadu_ps(n->bias + i)));
        }
    }
}

/* Replace each score of a row by e^(score - highest score); returns 1 / their sum. Scores after count are ignored. */
AVX2 static float exponentiate(float *scores, int64_t count) {
    const int64_t whole = count & ~7;
    const __m256 to_power = _mm256_set1_ps(1.442695041f); /* 1 / ln 2 */
    __m256 most = _mm256_set1_ps(-INFINITY), sum = _mm256_setzero_ps();
    for (int64_t i = 0; i < whole; i += 8) most = _mm256_max_ps(most, _mm256_loadu_ps(scores + i));
    float highest = max8(most);
    for (int64_t i = whole; i < count; i++) highest = scores[i] > highest ? scores[i] : highest;
    most = _mm256_set1_ps(highest);
    for (int64_t i = 0; i < whole; i += 8) {
        const __m256 e = power8(_mm256_mul_ps(_mm256_sub_ps(_mm256_loadu_ps(scores + i), most), to_power));
        _mm256_storeu_ps(scores + i, e);
        sum = _mm256_add_ps(sum, e);
    }
    float total = sum8(sum);
    if (whole < count) { /* rows consist of whole panels, so eight numbers can be read and written */
        float *rest = scores + whole;
        _mm256_storeu_ps(rest, power8(_mm256_mul_ps(_mm256_sub_ps(_mm256_loadu_ps(rest), most), to_power)));
        for (int64_t i = 0; i < count - whole; i++) total += rest[i];
    }
    return 1.0f / total;
}

/* Copy keys to panels of 16 (the last one filled up with zeros), and values to panels of 16 outputs. */
AVX2 static void pack_head(const float *keys, const float *values, int64_t step, int64_t length, int64_t size, float *key_panels,
                           float *value_panels) {
    for (int64_t first = 0; first < length; first += PANEL, key_panels += PANEL * size) {
        const int64_t some = least(PANEL, length - first);
        if (some < PANEL) memset(key_panels, 0, sizeof(float) * (size_t)(PANEL * size));
        for (int64_t j = 0; j < some; j++)
            for (int64_t c = 0; c < size; c++) key_panels[c * PANEL + j] = keys[(first + j) * step + c];
    }
    for (int64_t c = 0; c < size; c += PANEL)
        for (int64_t j = 0; j < length; j++, value_panels += PANEL) memcpy(value_panels, values + j * step + c, sizeof(float) * PANEL);
}

/* Attention of an input's first `asking` tokens to all its tokens: from qkv (length, 3 * hidden), with scaled
 * queries, to mixed (asking, hidden). */
AVX2 static void attend(const model *m, const float *qkv, int64_t qkv_step, int64_t length, int64_t asking, float *mixed,
                        int64_t mixed_step, float *space) {
    const int64_t size = m->hidden / m->heads, keys = parts_of(length, PANEL) * PANEL;
    float *key_panels = space, *value_panels = key_panels + keys * size, *scores = value_panels + length * size;
    for (int64_t head = 0; head < m->heads; head++) {
        const float *query = qkv + head * size;
        pack_head(query + m->hidden, query + 2 * m->hidden, qkv_step, length, size, key_panels, value_panels);
        const float *bias = m->distance_bias ? m->distance_bias + head * (2 * m->longest - 1) + m->longest - 1 : NULL;
        const int64_t parts = parts_of(asking, QUERIES);
        for (int64_t part = 0; part < parts; part++) {
            const int64_t row = part_at(asking, parts, part), rows = part_at(asking, parts, part + 1) - row;
            product(query + row * qkv_step, qkv_step, rows, key_panels, size, keys, scores, keys, NULL, 0, NONE);
            float whole[QUERIES];
            for (int64_t i = 0; i < rows; i++) {
                float *score = scores + i * keys;
                if (bias)
                    for (int64_t j = 0; j < length; j++) score[j] += bias[j - (row + i)];
                whole[i] = exponentiate(score, length);
            }
            float *out = mixed + row * mixed_step + head * size;
            product(scores, keys, rows, value_panels, length, size, out, mixed_step, NULL, 0, NONE);
            for (int64_t i = 0; i < rows; i++) {
                const __m256 share = _mm256_set1_ps(whole[i]);
                for (int64_t c = 0; c < size; c += 8) {
                    float *one = out + i * mixed_step + c;
                    _mm256_storeu_ps(one, _mm256_mul_ps(_mm256_loadu_ps(one), share));
                }
            }
        }
    }
}

AVX2 static void embed(const model *m, const int32_t *ids, int64_t length, float *x, int64_t step) {
    for (int64_t i = 0; i < length; i++) {
        const float *word = m->words + (int64_t)ids[i] * m->hidden, *position = m->positions + i * m->hidden;
        for (int64_t c = 0; c < m->hidden; c += 8)
            _mm256_storeu_ps(x + i * step + c, _mm256_add_ps(_mm256_loadu_ps(word + c), _mm256_loadu_ps(position + c)));
    }
    normalise_rows(x, step, length, m->hidden, &m->embeddings, (float)m->eps);
}

/* The mean of the rows, scaled to length 1. */
AVX2 static void pool(const model *m, const float *x, int64_t step, int64_t rows, float *vector) {
    __m256 squares = _mm256_setzero_ps();
    for (int64_t c = 0; c < m->hidden; c += 8) {
        __m256 sum = _mm256_setzero_ps();
        for (int64_t i = 0; i < rows; i++) sum = _mm256_add_ps(sum, _mm256_loadu_ps(x + i * step + c));
        sum = _mm256_mul_ps(sum, _mm256_set1_ps(1.0f / (float)rows));
        squares = _mm256_fmadd_ps(sum, sum, squares);
        _mm256_storeu_ps(vector + c, sum);
    }
    const float norm = sqrtf(sum8(squares));
    const __m256 scale = _mm256_set1_ps(1.0f / (norm > 1e-12f ? norm : 1e-12f));
    for (int64_t c = 0; c < m->hidden; c += 8) _mm256_storeu_ps(vector + c, _mm256_mul_ps(_mm256_loadu_ps(vector + c), scale));
}

static int in_pairs(const model *m, int64_t length) {
    return length >= m->paired_from;
}

/* Number of rows of an input. */
static int64_t rows_of(const model *m, int64_t length) {
    return in_pairs(m, length) ? length + length % 2 : length;
}

/* Fill the extra row of an input with zeros, if it has one. */
static void clear_odd_row(const model *m, float *rows, int64_t step, int64_t length) {
    if (rows_of(m, length) > length) memset(rows + length * step, 0, sizeof(float) * (size_t)m->hidden);
}

/* Number of the next inputs that make a block: as many as fit and, like the first one, are or are not in pairs. */
static int64_t block_of(const model *m, const int64_t *lengths, int64_t inputs, int64_t *rows) {
    int64_t count = 1;
    for (*rows = rows_of(m, lengths[0]); count < inputs && in_pairs(m, lengths[count]) == in_pairs(m, lengths[0]); count++) {
        const int64_t more = rows_of(m, lengths[count]);
        if (*rows + more > BLOCK) break;
        *rows += more;
    }
    return count;
}

static void attention_block(const model *m, const layer *l, float *x, int64_t step, const int64_t *lengths, int64_t inputs, int64_t rows,
                            float *space) {
    const int64_t hidden = m->hidden, qkv_step = 3 * hidden + PAD;
    const int paired = in_pairs(m, lengths[0]);
    float *qkv = space, *mixed = qkv + rows * qkv_step, *rest = mixed + rows * step;
    if (paired)
        product_in_pairs(x, step, rows, &l->qkv, hidden, 3 * hidden, qkv, qkv_step, 0, rest);
    else
        product(x, step, rows, l->qkv.panels, hidden, 3 * hidden, qkv, qkv_step, l->qkv.bias, 0, NONE);
    for (int64_t i = 0, first = 0; i < inputs; first += rows_of(m, lengths[i++])) {
        attend(m, qkv + first * qkv_step, qkv_step, lengths[i], lengths[i], mixed + first * step, step, rest);
        clear_odd_row(m, mixed + first * step, step, lengths[i]);
    }
    if (paired)
        product_in_pairs(mixed, step, rows, &l->projection, hidden, hidden, x, step, 1, rest);
    else
        product(mixed, step, rows, l->projection.panels, hidden, hidden, x, step, l->projection.bias, 1, NONE);
    normalise_rows(x, step, rows, hidden, &l->after_attention, (float)m->eps);
}

/* The same for the first token of each input only. Their rows go to first, (inputs, hidden), which may start
 * where x does. */
static void first_attention_block(const model *m, const layer *l, const float *x, int64_t step, const int64_t *lengths, int64_t inputs,
                                  int64_t rows, float *first, float *space) {
    const int64_t hidden = m->hidden, qkv_step = 3 * hidden + PAD;
    const size_t row = sizeof(float) * (size_t)hidden;
    float *qkv = space, *mixed = qkv + rows * qkv_step, *rest = mixed + rows * step;
    product(x, step, rows, l->qkv.panels + hidden * hidden, hidden, 2 * hidden, qkv + hidden, qkv_step, l->qkv.bias + hidden, 0, NONE);
    for (int64_t i = 0; i < inputs; x += rows_of(m, lengths[i++]) * step) memmove(first + i * step, x, row);
    product(first, step, inputs, l->qkv.panels, hidden, hidden, mixed, step, l->qkv.bias, 0, NONE);
    for (int64_t i = 0; i < inputs; qkv += rows_of(m, lengths[i++]) * qkv_step) {
        memcpy(qkv, mixed + i * step, row);
        attend(m, qkv, qkv_step, lengths[i], 1, mixed + i * step, step, rest);
    }
    product(mixed, step, inputs, l->projection.panels, hidden, hidden, first, step, l->projection.bias, 1, NONE);
    normalise_rows(first, step, inputs, hidden, &l->after_attention, (float)m->eps);
}

static void feed_forward_block(const model *m, const layer *l, float *x, int64_t step, int64_t rows, float *space) {
    const int64_t inner_step = m->inner + PAD, parts = parts_of(rows, ROWS);
    for (int64_t part = 0; part < parts; part++) {
        const int64_t row = part_at(rows, parts, part), count = part_at(rows, parts, part + 1) - row;
        float *some = x + row * step;
        product(some, step, count, l->up.panels, m->hidden, m->inner, space, inner_step, l->up.bias, 0, (activation)m->activation);
        product(space, inner_step, count, l->down.panels, m->inner, m->hidden, some, step, l->down.bias, 1, NONE);
        normalise_rows(some, step, count, m->hidden, &l->after_output, (float)m->eps);
    }
}

static void paired_feed_forward_block(const model *m, const layer *l, float *x, int64_t step, int64_t rows, float *space) {
    const int64_t parts = parts_of(rows / 2, PAIRS);
    for (int64_t part = 0; part < parts; part++) {
        const int64_t first = part_at(rows / 2, parts, part), count = part_at(rows / 2, parts, part + 1) - first;
        float *some = x + 2 * first * step;
        const pairs outer = pairs_of_rows(some, step, count, m->hidden, space);
        const pairs inner = paired_product_to_pairs(&outer, count, &l->up, m->hidden, m->inner, (activation)m->activation,
                                                    space + count * sums_step(m->hidden));
        paired_product(&inner, count, &l->down, m->inner, m->hidden, some, step, 1);
        normalise_rows(some, step, 2 * count, m->hidden, &l->after_output, (float)m->eps);
    }
}

void bert_forward(const model *m, const int32_t *ids, const int64_t *lengths, int64_t inputs, float *workspace, float *vectors) {
    const int64_t step = m->hidden + PAD;
    float *x = workspace, *row = x;
    for (int64_t i = 0; i < inputs; ids += lengths[i], row += rows_of(m, lengths[i]) * step, i++) {
        embed(m, ids, lengths[i], row, step);
        clear_odd_row(m, row, step, lengths[i]);
    }
    float *space = row;
    const layer *end = m->layers + m->depth - (m->first_token_only ? 1 : 0);
    for (const layer *l = m->layers; l < end; l++) {
        row = x;
        for (int64_t i = 0, rows, count; i < inputs; i += count, row += rows * step) {
            count = block_of(m, lengths + i, inputs - i, &rows);
            attention_block(m, l, row, step, lengths + i, count, rows, space);
            (in_pairs(m, lengths[i]) ? paired_feed_forward_block : feed_forward_block)(m, l, row, step, rows, space);
        }
    }
    row = x;
    if (m->first_token_only) { /* the other rows of the last layer are not needed */
        for (int64_t i = 0, rows, count; i < inputs; i += count, row += rows * step) {
            count = block_of(m, lengths + i, inputs - i, &rows);
            first_attention_block(m, end, row, step, lengths + i, count, rows, x + i * step, space);
        }
        feed_forward_block(m, end, x, step, inputs, space);
        for (int64_t i = 0; i < inputs; i++) pool(m, x + i * step, step, 1, vectors + i * m->hidden);
    } else {
        for (int64_t i = 0; i < inputs; row += rows_of(m, lengths[i]) * step, i++) pool(m, row, step, lengths[i], vectors + i * m->hidden);
    }
}

/* Size of the working memory of a batch, in numbers: its hidden rows, and the larger need of a block's two halves. */
int64_t bert_workspace(const model *m, const int64_t *lengths, int64_t inputs) {
    const int64_t step = m->hidden + PAD, size = m->hidden / m->heads;
    int64_t rows = 0, longest = 0;
    for (int64_t i = 0; i < inputs; i++) {
        rows += rows_of(m, lengths[i]);
        longest = greatest(longest, rows_of(m, lengths[i]));
    }
    const int64_t keys = parts_of(longest, PANEL) * PANEL, outer_sums = PAIRS * sums_step(m->hidden);
    const int64_t attention = greatest(BLOCK, longest) * (3 * m->hidden + PAD + step) + greatest(2 * keys * size + QUERIES * keys, outer_sums);
    const int64_t feed_forward = greatest(ROWS * (m->inner + PAD), outer_sums + PAIRS * factors_step(m->inner));
    return rows * step + greatest(attention, feed_forward);
}

#else

int64_t bert_supported(void);

int64_t bert_supported(void) {
    return 0;
}

#endif
