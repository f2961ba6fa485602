/** A linear classifier on frozen features, however it was fitted, and how often it is right. */
import { check, type NdArray, ndarray } from "@aligntok/core";

export interface LinearProbe {
  readonly classes: number;
  /** `(C, D)` float64, for features standardised by `mean` and `scale`. */
  readonly weight: NdArray<"float64">;
  /** `(C)` float64. */
  readonly bias: NdArray<"float64">;
  /** `(D)` float64, subtracted from features. */
  readonly mean: NdArray<"float64">;
  /** `(D)` float64, what they are multiplied with after that. */
  readonly scale: NdArray<"float64">;
  /** Logits `(N, C)` of `(N, D)` features. @throws AlignTokError `bad-input` on another width, NaN or infinity. */
  scores(features: NdArray<"float32">): NdArray<"float64">;
  /** The most likely class of each row. @throws AlignTokError as `scores` does. */
  predict(features: NdArray<"float32">): Int32Array;
}

/** The numbers of a probe; `weight` holds `(C, D)` in rows. */
export interface ProbeValues {
  readonly weight: Float64Array;
  readonly bias: Float64Array;
  readonly mean: Float64Array;
  readonly scale: Float64Array;
}

export function createProbe({ weight, bias, mean, scale }: ProbeValues): LinearProbe {
  const [classes, width] = [bias.length, mean.length];
  function scores(features: NdArray<"float32">): NdArray<"float64"> {
    checkFeatures(features, width);
    const rows = standardise(features.data, mean, scale);
    const count = features.shape[0]!;
    const out = new Float64Array(count * classes);
    for (let n = 0; n < count; n++) {
      for (let c = 0; c < classes; c++) {
        let sum = bias[c]!;
        for (let i = 0; i < width; i++) sum += weight[c * width + i]! * rows[n * width + i]!;
        out[n * classes + c] = sum;
      }
    }
    return ndarray(out, [count, classes], "float64");
  }
  return {
    classes,
    weight: ndarray(weight, [classes, width], "float64"),
    bias: ndarray(bias, [classes], "float64"),
    mean: ndarray(mean, [width], "float64"),
    scale: ndarray(scale, [width], "float64"),
    scores,
    predict(features) {
      const { data, shape } = scores(features);
      return Int32Array.from({ length: shape[0]! }, (_, n) => {
        const row = data.subarray(n * classes, (n + 1) * classes);
        return row.reduce((best, score, c) => (score > row[best]! ? c : best), 0);
      });
    },
  };
}

/** Share of predictions that equal the label, in [0, 1]. @throws AlignTokError `bad-input` for different lengths or none. */
export function computeAccuracy(predicted: Int32Array, labels: Int32Array): number {
  check(
    predicted.length === labels.length && labels.length > 0,
    () =>
      `accuracy: expected as many predictions as labels, got ${predicted.length} and ${labels.length}. take both from the same images`,
  );
  return predicted.reduce((hits, p, i) => hits + (p === labels[i] ? 1 : 0), 0) / labels.length;
}

/**
 * Share of rows whose label is among the `k` highest scores, in [0, 1]: top-5 accuracy for k = 5. Of equal scores the
 * lower class comes first, so that `k` = 1 equals `computeAccuracy` of the predictions.
 *
 * @param scores `(N, C)`, see `LinearProbe.scores`
 * @throws AlignTokError `bad-input` for shapes that do not match, labels outside the classes, or a `k` outside 1 to C.
 */
export function computeTopAccuracy(
  scores: NdArray<"float64">,
  labels: Int32Array,
  { k }: { readonly k: number },
): number {
  const [count = 0, classes = 0] = scores.shape;
  check(
    scores.shape.length === 2 && count === labels.length && count > 0,
    () => `accuracy: expected scores [${labels.length},C], got [${scores.shape}]`,
  );
  check(
    Number.isInteger(k) && k >= 1 && k <= classes,
    () => `accuracy: expected k from 1 to the ${classes} classes, got ${k}. lower k`,
  );
  checkLabels(labels, classes);
  let hits = 0;
  for (const [n, label] of labels.entries()) {
    const row = scores.data.subarray(n * classes, (n + 1) * classes);
    const own = row[label]!;
    let ahead = 0;
    for (let c = 0; c < classes; c++) if (row[c]! > own || (row[c] === own && c < label)) ahead++;
    if (ahead < k) hits++;
  }
  return hits / count;
}

/** What every fit needs: finite features, a label for each, and at least two classes that hold all labels. */
export function checkProblem(
  features: NdArray<"float32">,
  labels: Int32Array,
  classes: number,
): void {
  const [count = 0, width = 0] = features.shape;
  checkFeatures(features, width);
  check(
    Number.isInteger(classes) && classes >= 2,
    () =>
      `linear probe: expected at least 2 classes, got ${classes}. give images of several classes`,
  );
  check(
    count > 0 && count === labels.length,
    () =>
      `linear probe: expected a label for each of ${count} features, got ${labels.length}. take both from the same images`,
  );
  checkLabels(labels, classes);
}

function checkLabels(labels: Int32Array, classes: number): void {
  const wrong = labels.findIndex((label) => label < 0 || label >= classes);
  check(
    wrong < 0,
    () =>
      `linear probe: expected labels of 0 to ${classes - 1}, got ${labels[wrong]} at ${wrong}. number the classes from 0`,
  );
}

function checkFeatures({ dtype, shape, data }: NdArray<"float32">, width: number): void {
  check(
    dtype === "float32" && shape.length === 2 && shape[1] === width,
    () =>
      `linear probe: expected float32 features [N,${width}], got ${dtype} [${shape}]. pool tokens or latents first`,
  );
  const bad = data.findIndex((x) => !Number.isFinite(x));
  check(
    bad < 0,
    () =>
      `linear probe: expected finite features, got ${data[bad]} in row ${Math.floor(bad / width)}. compute that image's again`,
  );
}

/** `(x - mean) * scale` of rows in float64. */
export function standardise(
  data: Float32Array,
  mean: Float64Array,
  scale: Float64Array,
): Float64Array {
  const width = mean.length;
  const out = new Float64Array(data.length);
  for (let start = 0; start < data.length; start += width) {
    for (let i = 0; i < width; i++) out[start + i] = (data[start + i]! - mean[i]!) * scale[i]!;
  }
  return out;
}

export function logSumExp(values: Float64Array): number {
  let most = Number.NEGATIVE_INFINITY;
  for (const value of values) most = Math.max(most, value);
  let sum = 0;
  for (const value of values) sum += Math.exp(value - most);
  return most + Math.log(sum);
}
