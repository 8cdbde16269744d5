// Maps of attention as numbers: unpacked, folded to the ASVs that are shown, and averaged over heads.

// Halves (float16) as numbers; all 65,536 of them are worked out once.
const HALVES = Float32Array.from({ length: 65536 }, (_, bits) => {
  const power = (bits >> 10) & 31, rest = bits & 1023;
  return (bits & 32768 ? -1 : 1) * (power ? (1 + rest / 1024) * 2 ** (power - 15) : rest * 2 ** -24);
});

function unpackHalves({ shape, halves }) {
  const raw = atob(halves), values = new Float32Array(raw.length / 2);
  for (let i = 0; i < values.length; i++) values[i] = HALVES[raw.charCodeAt(2 * i) | (raw.charCodeAt(2 * i + 1) << 8)];
  return { shape, values };
}

// What f makes of an object (and a number), made once.
function once(f) {
  const made = new WeakMap();
  return (object, n = 0) => {
    if (!made.has(object)) made.set(object, new Map());
    const values = made.get(object);
    if (!values.has(n)) values.set(n, f(object, n));
    return values.get(n);
  };
}

const total = (values) => values.reduce((a, b) => a + b, 0);
const mean = (values) => total(values) / values.length;

// The largest number of a map of n, but for the columns from `single` on, which stand for many keys.
const highest = (values, n, single) => values.reduce((a, b, i) => (i % n < single ? Math.max(a, b) : a), 1e-12);

// A sample's maps with its first `top` ASVs one by one, and all others as one: of columns the sum, of rows the mean.
function foldMaps(sample, top) {
  const { shape, values } = unpackedOnce(sample.weights), [L, H, K] = shape, keys = sample.keys.ids.length;
  const single = Math.min(keys, sample.tokens + top), rest = sample.tokens + sample.numAsvs - single;
  const n = single + (rest > 0 ? 1 : 0);
  const heads = Array.from({ length: L * H }, (_, map) => {
    const whole = values.subarray(map * K * K, (map + 1) * K * K);
    return n === K ? whole : foldMap(whole, { K, n, single, rest, keys, others: sample.others });
  });
  const gathered = (list) => (rest > 0 ? [...list.slice(0, single), total(list.slice(single))] : list);
  const named = (list, other) => [...list.slice(0, single), ...(rest > 0 ? [other] : [])];
  const pooling = Array.from({ length: H }, (_, h) => gathered(sample.pooling.map((row) => row[h])));
  const pooled = sample.keys.ids.map((_, k) => mean(sample.pooling[k]));
  const onShown = total(pooled.slice(sample.tokens, single)), onAsvs = 1 - total(pooled.slice(0, sample.tokens));
  return {
    n,
    single,
    rest,
    heads,
    pooling,
    share: onAsvs > 0 ? onShown / onAsvs : 1,
    numHeads: H,
    mean: Array.from({ length: n }, (_, k) => mean(pooling.map((p) => p[k]))),
    rolled: gathered(sample.rolled),
    reads: gathered(sample.keys.reads),
    ids: named(sample.keys.ids, ""),
    labels: named(sample.keys.labels, `(${count(rest, "other ASV")})`),
    lineages: named(sample.keys.lineages, ""),
  };
}

function foldMap(whole, { K, n, single, rest, keys, others }) {
  const small = new Float32Array(n * n);
  for (let r = 0; r < K; r++) {
    const share = r < single ? 1 : (r < keys ? 1 : others) / rest, to = Math.min(r, single);
    for (let c = 0; c < K; c++) small[to * n + Math.min(c, single)] += share * whole[r * K + c];
  }
  return small;
}

const unpackedOnce = once(unpackHalves);
const foldedOnce = once(foldMaps);

// The mean of the heads of a layer, made once for each object that the maps are of: `maps(layer)` gives them.
function headMeans() {
  const sources = new WeakMap();
  const average = once(({ maps }, layer) => {
    const heads = maps(layer);
    return heads[0].map((_, i) => mean(heads.map((m) => m[i])));
  });
  return (object, layer, maps) => {
    if (!sources.has(object)) sources.set(object, { maps });
    return average(sources.get(object), layer);
  };
}
