/** The five 8-bit floating point formats of PyTorch and safetensors, as 8-bit patterns. */

/** Bits of the exponent, its bias, and which patterns are not finite. */
interface Float8Format {
  /** Bits of the fraction; the exponent has the rest. */
  readonly fraction: number;
  readonly bias: number;
  /**
   * ieee: the highest exponent is infinity or NaN; all-ones: only exponent and fraction of ones are NaN, there is no
   * infinity; negative-zero: only the pattern of -0 is NaN; scale: no sign and no zero, powers of two, 255 is NaN.
   */
  readonly special: "ieee" | "all-ones" | "negative-zero" | "scale";
}

const formats = {
  // OCP 8-bit Floating Point Specification 1.0
  float8_e4m3fn: { fraction: 3, bias: 7, special: "all-ones" },
  float8_e5m2: { fraction: 2, bias: 15, special: "ieee" },
  // Noune et al., arXiv 2206.02915
  float8_e4m3fnuz: { fraction: 3, bias: 8, special: "negative-zero" },
  float8_e5m2fnuz: { fraction: 2, bias: 16, special: "negative-zero" },
  // OCP Microscaling Formats 1.0: the scales of blocks
  float8_e8m0fnu: { fraction: 0, bias: 127, special: "scale" },
} as const satisfies Record<string, Float8Format>;

type Float8 = keyof typeof formats;

/** All 256 values of each format, built at the first use. */
const tables: { [name in Float8]?: Float32Array } = {};

export function float8ToFloat32(bits: Uint8Array, format: Float8): Float32Array {
  tables[format] ??= Float32Array.from({ length: 256 }, (_, pattern) =>
    decode(pattern, formats[format]),
  );
  const table = tables[format];
  return Float32Array.from(bits, (pattern) => table[pattern]!);
}

function decode(pattern: number, { fraction: width, bias, special }: Float8Format): number {
  if (special === "scale") return pattern === 255 ? Number.NaN : 2 ** (pattern - bias);
  if (special === "negative-zero" && pattern === 0x80) return Number.NaN;
  const sign = pattern & 0x80 ? -1 : 1;
  const magnitude = pattern & 0x7f;
  const exponent = magnitude >> width;
  const fraction = (magnitude & (2 ** width - 1)) / 2 ** width;
  if (special === "all-ones" && magnitude === 0x7f) return Number.NaN;
  if (special === "ieee" && exponent === 0x7f >> width) {
    return fraction ? Number.NaN : sign * Number.POSITIVE_INFINITY;
  }
  return exponent === 0
    ? sign * fraction * 2 ** (1 - bias)
    : sign * (1 + fraction) * 2 ** (exponent - bias);
}
