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
 * Turns tfjs's plain Errors for a missing kernel or gradient into ones that say which, where in the
 * caller's code, and what to do. Other errors are given back as they are.
 */
export function explain(error: unknown): unknown {
  if (!(error instanceof Error)) return error;
  const kernel = /Kernel '(\w+)' not registered for backend/.exec(error.message)?.[1];
  const gradient = /gradient function not found for (\w+)/.exec(error.message)?.[1];
  if (!kernel && !gradient) return error;
  const where = callerOf(error.stack ?? "");
  const message = kernel
    ? `operation ${kernel}: not supported in compiled functions, called ${where}. use ${substitutes[kernel] ?? "other operations, or report it"}`
    : `gradient of ${gradient}: not available, needed by valueAndGrad ${where}. use stopGradient, or other operations`;
  return new AlignTokError("unsupported", message, { cause: error });
}

/** The first line of a stack that is the caller's: of no installed package (nor what its source map names), and not ours. */
export function callerOf(stack: string): string {
  const foreign =
    /[\\/](node_modules|tfjs-\w+[\\/]src|jit[\\/](src|dist))[\\/]|node:|<anonymous>\)?$/;
  const frame = stack.split("\n").find((line) => /^\s+at /.test(line) && !foreign.test(line));
  return frame ? frame.trim() : "in the traced function";
}
