/* The forward of BERT and its relatives on packed tokens, in float32, for x86-64 processors with AVX2 and FMA.
 *
 * Called by compiled.py through ctypes. One call computes one batch on the calling thread, start to end, some tokens at a time
 * through each part of a layer: what one step leaves the next one finds near the core, which calls of a library's products one by
 * one cannot do. Every number is computed in the same order whatever else is in the batch, so a vector does not depend on its neighbours in any bit.
 *
 * A weight of (n, k) is kept in panels of 16 outputs, each of k rows of 16 numbers: what one step of the kernel multiplies lies
 * in one line of the cache. The kernel holds 6 rows by 16 outputs in registers (Goto and van de Geijn 2008, "Anatomy of
 * high-performance matrix multiplication", doi:10.1145/1356052.1356053): twelve sums, two parts of a line and one number of a row are
 * fifteen of the sixteen there are.
 */

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum {
    PANEL = 16,   /* outputs of a panel: two registers, one line of the cache */
    TILE = 6,     /* rows of a tile */
    STEP = 4,     /* numbers of a row multiplied between two looks at what is to be fetched */
    DEPTH = 384,  /* so many rows of a panel stay in the first cache while the tokens pass */
    ROWS = 96,    /* so many tokens pass all panels before the next ones do */
    QUERIES = 48, /* tokens whose attention scores are held at once */
    BLOCK = 192,  /* inputs are taken together up to so many tokens */
    PAD = 16      /* numbers between rows: at a distance of a power of two they would share a few lines of the cache */
};

typedef enum { NONE, GELU, RELU } activation;

typedef struct {
    const float *panels, *bias;
} linear;

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
    double eps;
    const float *words, *positions, *distance_bias; /* the last: (heads, 2 * longest - 1), or NULL */
    norm embeddings;
    const layer *layers;
} model;

int64_t bert_supported(void);
void bert_pack(const float *weight, int64_t n, int64_t k, float *packed);
int64_t bert_workspace(const model *m, int64_t tokens, int64_t longest);
void bert_forward(const model *m, const int32_t *ids, const int64_t *lengths, int64_t inputs, float *workspace, float *vectors);

/* How many parts of at most that size; none of what has no size. */
static int64_t parts_of(int64_t whole, int64_t most) {
    return most > 0 ? (whole + most - 1) / most : 0;
}

#if defined(__x86_64__)

#include <immintrin.h>

#define AVX2 __attribute__((target("avx2,fma")))
#define AVX2_INLINE static inline __attribute__((always_inline, target("avx2,fma")))

int64_t bert_supported(void) {
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}

static int64_t least(int64_t a, int64_t b) {
    return a < b ? a : b;
}

/* Where the part of that number begins when the whole is cut into equal parts. */
static int64_t part_at(int64_t whole, int64_t parts, int64_t number) {
    return whole * number / parts;
}

/* 2 to the x, for x of 0 or less: 2^n * 2^f with |f| <= 1/2, the second by the Taylor series of e^(f ln 2) to its seventh power
 * (5e-9). Below 2^-115 it is 2^-115, so that no product with it has to be computed the slow way that the tiniest numbers take. */
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

/* x * (1 + erf(x / sqrt 2)) / 2. With q = erfc(|x| / sqrt 2) it is max(x, 0) - |x| * q / 2, where nothing cancels;
 * q by Abramowitz and Stegun, Handbook of Mathematical Functions, 7.1.26: within 1.5e-7. */
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

/* What one tile does: y = (y or bias or both or neither) + x * panel, then the activation. */
typedef struct {
    const float *x;
    int64_t x_step;
    const float *panel;
    int64_t depth;
    float *y;
    int64_t y_step;
    const float *bias; /* 16 numbers, or NULL */
    int adds;          /* y counts too */
    activation then;
    const float *ahead; /* what is needed next, to be fetched meanwhile: so many lines, so many of them at each step */
    int64_t lines, pace;
} tile;

/* The two instructions of the kernel, written out: given C, compilers keep an address for every row and move sums to and fro, and
 * a seventh of the speed is gone. A row lies so many times a distance, in bytes, from the first one. */
#define NUMBER(k, times, distance) \
    __asm__("vbroadcastss %c1(%2,%3," #times "), %0" : "=x"(number) : "i"(4 * (k)), "r"(x), "r"(distance), "m"(*(const float(*)[])x))
#define ADD(row)                                                                           \
    __asm__("vfmadd231ps %2, %1, %0" : "+x"(sum[row][0]) : "x"(number), "x"(low)); \
    __asm__("vfmadd231ps %2, %1, %0" : "+x"(sum[row][1]) : "x"(number), "x"(high))
#define MULTIPLY_AT(k)                                                                                           \
    {                                                                                                            \
        const __m256 low = _mm256_loadu_ps(panel + (k) * PANEL), high = _mm256_loadu_ps(panel + (k) * PANEL + 8); \
        __m256 number = _mm256_broadcast_ss(x + (k));                                                             \
        ADD(0);                                                                                                  \
        if (rows > 1) { NUMBER(k, 1, one); ADD(1); }                                                             \
        if (rows > 2) { NUMBER(k, 2, one); ADD(2); }                                                             \
        if (rows > 3) { NUMBER(k, 1, three); ADD(3); }                                                           \
        if (rows > 4) { NUMBER(k, 4, one); ADD(4); }                                                             \
        if (rows > 5) { NUMBER(k, 1, five); ADD(5); }                                                            \
    }

AVX2_INLINE void multiply_tile(const tile *t, const int rows) {
    __m256 sum[TILE][2];
    const float *x = t->x, *panel = t->panel, *ahead = t->ahead;
    const int64_t one = (int64_t)sizeof(float) * t->x_step, three = 3 * one, five = 5 * one;
#pragma GCC unroll 6
    for (int i = 0; i < rows; i++) {
        float *y = t->y + i * t->y_step;
        sum[i][0] = t->bias ? _mm256_loadu_ps(t->bias) : _mm256_setzero_ps();
        sum[i][1] = t->bias ? _mm256_loadu_ps(t->bias + 8) : _mm256_setzero_ps();
        if (t->adds) {
            sum[i][0] = _mm256_add_ps(sum[i][0], _mm256_loadu_ps(y));
            sum[i][1] = _mm256_add_ps(sum[i][1], _mm256_loadu_ps(y + 8));
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
#pragma GCC unroll 6
    for (int i = 0; i < rows; i++) {
        float *y = t->y + i * t->y_step;
        _mm256_storeu_ps(y, sum[i][0]);
        _mm256_storeu_ps(y + 8, sum[i][1]);
    }
    if (t->then == NONE) return;
    for (int i = 0; i < rows; i++) {
        for (float *y = t->y + i * t->y_step, *end = y + PANEL; y < end; y += 8) {
            const __m256 value = _mm256_loadu_ps(y);
            _mm256_storeu_ps(y, t->then == GELU ? gelu8(value) : _mm256_max_ps(value, _mm256_setzero_ps()));
        }
    }
}

AVX2 static void multiply_1(const tile *t) { multiply_tile(t, 1); }
AVX2 static void multiply_2(const tile *t) { multiply_tile(t, 2); }
AVX2 static void multiply_3(const tile *t) { multiply_tile(t, 3); }
AVX2 static void multiply_4(const tile *t) { multiply_tile(t, 4); }
AVX2 static void multiply_5(const tile *t) { multiply_tile(t, 5); }
AVX2 static void multiply_6(const tile *t) { multiply_tile(t, 6); }

static void (*const MULTIPLY[])(const tile *) = {0, multiply_1, multiply_2, multiply_3, multiply_4, multiply_5, multiply_6};

/* ``product`` of a few rows. */
static void product_at_once(const float *x, int64_t x_step, int64_t rows, const float *panels, int64_t depth, int64_t outputs, float *y,
                    int64_t y_step, const float *bias, int adds, activation then) {
    const int64_t tiles = parts_of(rows, TILE), height = rows / tiles, taller = rows % tiles, slices = parts_of(depth, DEPTH);
    const float *panel = panels, *end = panels + depth * outputs;
    for (int64_t output = 0; output < outputs; output += PANEL) {
        for (int64_t slice = 0, from = 0, to; slice < slices; slice++, from = to) {
            to = part_at(depth, slices, slice + 1);
            const float *next = panel + (to - from) * PANEL;
            /* Of what comes behind this slice, as many lines as it has; each tile fetches its share, some at each of its steps. */
            int64_t lines = least(to - from, (end - next) / PANEL);
            const int64_t share = parts_of(lines, tiles), pace = parts_of(share, (to - from) / STEP);
            tile t = {
                .x = x + from,
                .x_step = x_step,
                .panel = panel,
                .depth = to - from,
                .y = y + output,
                .y_step = y_step,
                .bias = bias && slice == 0 ? bias + output : NULL,
                .adds = adds || slice > 0,
                .then = slice == slices - 1 ? then : NONE,
                .ahead = next,
                .pace = pace,
            };
            for (int64_t number = 0; number < tiles; number++) {
                const int64_t count = height + (number < taller);
                t.lines = least(share, lines);
                MULTIPLY[count](&t);
                t.x += count * x_step;
                t.y += count * y_step;
                t.ahead += t.lines * PANEL;
                lines -= t.lines;
            }
            panel = next;
        }
    }
}

/* y (rows, outputs) = x (rows, depth) * panels + bias, added to what is in y where it adds; outputs are whole panels. */
static void product(const float *x, int64_t x_step, int64_t rows, const float *panels, int64_t depth, int64_t outputs, float *y,
                    int64_t y_step, const float *bias, int adds, activation then) {
    const int64_t parts = parts_of(rows, ROWS);
    for (int64_t part = 0; part < parts; part++) {
        const int64_t row = part_at(rows, parts, part), some = part_at(rows, parts, part + 1) - row;
        product_at_once(x + row * x_step, x_step, some, panels, depth, outputs, y + row * y_step, y_step, bias, adds, then);
    }
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

/* Scores to e^(score - the row's highest); returns one over their sum. Scores beyond the count are not read. */
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
    if (whole < count) { /* rows are whole panels long, so there are eight numbers to read and write */
        float *rest = scores + whole;
        _mm256_storeu_ps(rest, power8(_mm256_mul_ps(_mm256_sub_ps(_mm256_loadu_ps(rest), most), to_power)));
        for (int64_t i = 0; i < count - whole; i++) total += rest[i];
    }
    return 1.0f / total;
}

/* Keys in panels of 16 (the last one filled with zeros) and values in panels of 16 outputs. */
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

/* Attention of an input's first tokens, so many as ask, to all of it: qkv (length, 3 * hidden), queries scaled already, to
 * mixed (asking, hidden). */
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

/* The mean of so many rows, brought to length 1. */
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

/* How many of the next inputs make a block: as many as fit, and at least one. */
static int64_t block_of(const int64_t *lengths, int64_t inputs, int64_t *tokens) {
    int64_t count = 0;
    for (*tokens = 0; count < inputs && (count == 0 || *tokens + lengths[count] <= BLOCK); count++) *tokens += lengths[count];
    return count;
}

static void attention_block(const model *m, const layer *l, float *x, int64_t step, const int64_t *lengths, int64_t inputs, int64_t tokens,
                            float *space) {
    const int64_t qkv_step = 3 * m->hidden + PAD;
    float *qkv = space, *mixed = qkv + tokens * qkv_step, *rest = mixed + tokens * step;
    product(x, step, tokens, l->qkv.panels, m->hidden, 3 * m->hidden, qkv, qkv_step, l->qkv.bias, 0, NONE);
    for (int64_t i = 0, first = 0; i < inputs; first += lengths[i++])
        attend(m, qkv + first * qkv_step, qkv_step, lengths[i], lengths[i], mixed + first * step, step, rest);
    product(mixed, step, tokens, l->projection.panels, m->hidden, m->hidden, x, step, l->projection.bias, 1, NONE);
    normalise_rows(x, step, tokens, m->hidden, &l->after_attention, (float)m->eps);
}

/* The same where only each input's first token is asked for: their rows come to first, (inputs, hidden), which may begin where x does. */
static void first_attention_block(const model *m, const layer *l, const float *x, int64_t step, const int64_t *lengths, int64_t inputs,
                                  int64_t tokens, float *first, float *space) {
    const int64_t hidden = m->hidden, qkv_step = 3 * hidden + PAD;
    const size_t row = sizeof(float) * (size_t)hidden;
    float *qkv = space, *mixed = qkv + tokens * qkv_step, *rest = mixed + tokens * step;
    product(x, step, tokens, l->qkv.panels + hidden * hidden, hidden, 2 * hidden, qkv + hidden, qkv_step, l->qkv.bias + hidden, 0, NONE);
    for (int64_t i = 0; i < inputs; x += lengths[i++] * step) memmove(first + i * step, x, row);
    product(first, step, inputs, l->qkv.panels, hidden, hidden, mixed, step, l->qkv.bias, 0, NONE);
    for (int64_t i = 0; i < inputs; qkv += lengths[i++] * qkv_step) {
        memcpy(qkv, mixed + i * step, row);
        attend(m, qkv, qkv_step, lengths[i], 1, mixed + i * step, step, rest);
    }
    product(mixed, step, inputs, l->projection.panels, hidden, hidden, first, step, l->projection.bias, 1, NONE);
    normalise_rows(first, step, inputs, hidden, &l->after_attention, (float)m->eps);
}

static void feed_forward_block(const model *m, const layer *l, float *x, int64_t step, int64_t tokens, float *space) {
    const int64_t inner_step = m->inner + PAD, parts = parts_of(tokens, ROWS);
    for (int64_t part = 0; part < parts; part++) {
        const int64_t row = part_at(tokens, parts, part), rows = part_at(tokens, parts, part + 1) - row;
        float *some = x + row * step;
        product(some, step, rows, l->up.panels, m->hidden, m->inner, space, inner_step, l->up.bias, 0, (activation)m->activation);
        product(space, inner_step, rows, l->down.panels, m->inner, m->hidden, some, step, l->down.bias, 1, NONE);
        normalise_rows(some, step, rows, m->hidden, &l->after_output, (float)m->eps);
    }
}

void bert_forward(const model *m, const int32_t *ids, const int64_t *lengths, int64_t inputs, float *workspace, float *vectors) {
    const int64_t step = m->hidden + PAD;
    float *x = workspace, *row = x;
    for (int64_t i = 0; i < inputs; ids += lengths[i], row += lengths[i] * step, i++) embed(m, ids, lengths[i], row, step);
    float *space = row;
    const layer *end = m->layers + m->depth - (m->first_token_only ? 1 : 0);
    for (const layer *l = m->layers; l < end; l++) {
        row = x;
        for (int64_t i = 0, tokens, count; i < inputs; i += count, row += tokens * step) {
            count = block_of(lengths + i, inputs - i, &tokens);
            attention_block(m, l, row, step, lengths + i, count, tokens, space);
            feed_forward_block(m, l, row, step, tokens, space);
        }
    }
    row = x;
    if (m->first_token_only) { /* of the last layer, nobody asks for the other rows */
        for (int64_t i = 0, tokens, count; i < inputs; i += count, row += tokens * step) {
            count = block_of(lengths + i, inputs - i, &tokens);
            first_attention_block(m, end, row, step, lengths + i, count, tokens, x + i * step, space);
        }
        feed_forward_block(m, end, x, step, inputs, space);
        for (int64_t i = 0; i < inputs; i++) pool(m, x + i * step, step, 1, vectors + i * m->hidden);
    } else {
        for (int64_t i = 0; i < inputs; row += lengths[i] * step, i++) pool(m, row, step, lengths[i], vectors + i * m->hidden);
    }
}

#else

int64_t bert_supported(void) {
    return 0;
}

void bert_forward(const model *m, const int32_t *ids, const int64_t *lengths, int64_t inputs, float *workspace, float *vectors) {
    (void)m, (void)ids, (void)lengths, (void)inputs, (void)workspace, (void)vectors;
}

#endif

/* Numbers of working memory for a batch: its hidden rows, and the larger of what a block's two halves need. */
int64_t bert_workspace(const model *m, int64_t tokens, int64_t longest) {
    const int64_t step = m->hidden + PAD, block = longest > BLOCK ? longest : BLOCK, size = m->hidden / m->heads;
    const int64_t keys = parts_of(longest, PANEL) * PANEL;
    const int64_t attention = block * (3 * m->hidden + PAD + step) + 2 * keys * size + QUERIES * keys;
    const int64_t feed_forward = ROWS * (m->inner + PAD);
    return tokens * step + (attention > feed_forward ? attention : feed_forward);
}

/* A weight of (n, k), row by row, to panels; n is a multiple of 16. */
void bert_pack(const float *weight, int64_t n, int64_t k, float *packed) {
    for (int64_t first = 0; first < n; first += PANEL)
        for (int64_t i = 0; i < k; i++)
            for (int64_t output = first; output < first + PANEL; output++) *packed++ = weight[output * k + i];
}
