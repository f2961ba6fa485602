/**
 * How to try an operation: which shapes and options it takes, which numbers, and how it is called. The tables beside
 * this file feed the generated tests and the page of operations in the documentation.
 */
import { createRandom, type NdArray, ndarray, sizeOf } from "@aligntok/core";
import type { Tensor } from "@tensorflow/tfjs-core";
import fc from "fast-check";

/** Where the numbers of an input come from: a map of standard normal numbers, or numbers that keep a distance. */
export interface Domain {
  readonly dtype?: "float32" | "int32" | "bool";
  readonly map?: (x: number) => number;
  /** All numbers of all such inputs differ by 0.25 at least, so that no small change makes another one the largest. */
  readonly distinct?: true;
}

export interface Arguments<Options = unknown> {
  readonly shapes: readonly (readonly number[])[];
  readonly options: Options;
}

export interface Operation<Options = unknown> {
  /** As a user writes it: `tf.acos`. */
  readonly name: string;
  /** The kernels of tfjs, or of ours, that it tries. */
  readonly kernels: readonly string[];
  readonly draw: fc.Arbitrary<Arguments<Options>>;
  /** One for all inputs, or one for each. @default standard normal numbers */
  readonly domain?: Domain | readonly Domain[];
  readonly call: (inputs: readonly Tensor[], options: Options) => Tensor | readonly Tensor[];
  /** `false` for results that are constant or whole numbers. @default true */
  readonly gradient?: false;
  /** What a reader of the documentation should know. */
  readonly note?: string;
}

/** Keeps the type of the options between `draw` and `call`. */
export const operation = <Options>(given: Operation<Options>): Operation =>
  given as unknown as Operation;

/** Lengths of axes: one, primes, and what is divisible. */
export const length: fc.Arbitrary<number> = fc.constantFrom(1, 2, 3, 4, 5, 7);

/** Shapes of up to 4 axes. */
export const shape = (minLength = 1, maxLength = 4) => fc.array(length, { minLength, maxLength });

/** One input of any shape, or a scalar, without options. */
export const one = shape(0).map((x) => ({ shapes: [x], options: undefined }));

/** A shape and an axis of it, counted from either end. */
export const withAxis = shape().chain((x) =>
  fc
    .integer({ min: -x.length, max: x.length - 1 })
    .map((axis) => ({ shapes: [x], options: { axis } })),
);

/** Two inputs that broadcast to one shape: either may lack axes or have ones. */
export const pair = shape(1, 3)
  .chain((whole) =>
    fc.tuple(fc.constant(whole), narrowed(whole), fc.nat(whole.length - 1), fc.boolean()),
  )
  .map(([whole, narrow, lacking, swap]) => {
    const other = narrow.slice(lacking);
    return { shapes: swap ? [other, whole] : [whole, other], options: undefined };
  });

/** A shape in which some lengths are replaced by 1. */
export const narrowed = (whole: readonly number[]) =>
  fc.tuple(...whole.map(() => fc.boolean())).map((ones) => whole.map((n, i) => (ones[i] ? 1 : n)));

export const integers: Domain = { dtype: "int32", map: (x) => Math.round(3 * x) };
export const truths: Domain = { dtype: "bool", map: (x) => Number(x > 0) };
export const positive: Domain = { map: (x) => Math.abs(x) + 0.3 };
/** Not close to 0, where some functions have a corner. */
export const awayFromZero: Domain = { map: (x) => x + Math.sign(x) * 0.2 };
export const distinct: Domain = { distinct: true };
/** Whole numbers from 0 to before n. */
export const below = (n: number): Domain => ({
  dtype: "int32",
  map: (x) => Math.min(n - 1, Math.floor(n * (0.5 + 0.3 * x) + n) % n),
});

/** The inputs of one trial: functions of the shapes and the seed alone. */
export function fillInputs(
  shapes: readonly (readonly number[])[],
  { domain = {}, seed }: { readonly domain?: Operation["domain"]; readonly seed: number },
): NdArray[] {
  const random = createRandom(seed, "operations");
  const domains = shapes.map((_, i) => (Array.isArray(domain) ? domain[i] : domain) as Domain);
  const sizes = shapes.map((each) => sizeOf(each));
  const total = sizes.reduce((sum, n, i) => sum + (domains[i]!.distinct ? n : 0), 0);
  const ranks = random.permutation(total);
  let taken = 0;
  return shapes.map((each, i) => {
    const { dtype = "float32", map = (x: number) => x, distinct } = domains[i]!;
    const numbers = distinct
      ? Array.from({ length: sizes[i]! }, () => map((ranks[taken++]! - total / 2) / 4))
      : Array.from(random.normals(sizes[i]!), map);
    if (dtype === "float32") return ndarray(Float32Array.from(numbers), each);
    if (dtype === "int32") return ndarray(Int32Array.from(numbers), each, "int32");
    return ndarray(Uint8Array.from(numbers), each, "bool");
  });
}
