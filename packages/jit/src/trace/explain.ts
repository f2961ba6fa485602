import { AlignTokError } from "@aligntok/core";

const complex = "real numbers: complex ones are not supported";
const sized = "operations whose sizes do not depend on values";

/** What to write in place of tfjs kernels that are not supported. */
const substitutes: Readonly<Record<string, string>> = {
  Multinomial: "random numbers drawn outside and passed in",
  Complex: complex,
  FFT: complex,
  IFFT: complex,
  Unique: sized,
  Where: sized,
  NonMaxSuppressionV3: sized,
  NonMaxSuppressionV4: sized,
  NonMaxSuppressionV5: sized,
  LRN: "groupNorm of @aligntok/jit, or a sum of squares over shifted channels",
};

/**
 * Says where in the caller's code an error of tfjs or of ours comes from. tfjs's plain Errors, for a missing kernel
 * or gradient or for shapes that do not fit, become ones of ours. The caller's own errors are given back as they are.
 */
export function explain(error: unknown): unknown {
  if (!(error instanceof Error)) return error;
  const stack = error.stack ?? "";
  const where = callerOf(stack);
  const kernel = /Kernel '(\w+)' not registered for backend/.exec(error.message)?.[1];
  const gradient = /gradient function not found for (\w+)/.exec(error.message)?.[1];
  if (kernel || gradient) {
    const message = kernel
      ? `operation ${kernel}: not supported in compiled functions, called ${where}. use ${substitutes[kernel] ?? "other operations, or report it"}`
      : `gradient of ${gradient}: not available, needed by valueAndGrad ${where}. use stopGradient, or other operations`;
    return new AlignTokError("unsupported", message, { cause: error });
  }
  if (!ours.test(originOf(stack))) return error;
  if (AlignTokError.isInstance(error)) {
    return new AlignTokError(error.code, `${error.message}, called ${where}`, { cause: error });
  }
  const called = /\bat (?:\w+\.)*(\w+?)__op\b/.exec(stack)?.[1]; // how tfjs wraps its functions
  const name = called ? `tf.${called}` : "traced function";
  const message = `${name}: ${error.message.replace(/\.$/, "")}, called ${where}`;
  return new AlignTokError("bad-input", message, { cause: error });
}

/** Files of tfjs and of this package. */
const ours = /[\\/](node_modules[\\/]@tensorflow|tfjs-core|jit[\\/](src|dist))[\\/]/;

/** The line that threw, or called the `check` that did. */
function originOf(stack: string): string {
  const frames = stack.split("\n").filter((line) => /^\s+at /.test(line));
  return frames.find((line) => !/[\\/]core[\\/](src|dist)[\\/]/.test(line)) ?? "";
}

/** The first line of a stack that is the caller's: of no installed package (nor what its source map names), and not ours. */
export function callerOf(stack: string): string {
  const foreign =
    /[\\/](node_modules|tfjs-\w+[\\/]src|(core|jit)[\\/](src|dist))[\\/]|node:|<anonymous>\)?$/;
  const frame = stack.split("\n").find((line) => /^\s+at /.test(line) && !foreign.test(line));
  return frame ? frame.trim() : "in the traced function";
}
