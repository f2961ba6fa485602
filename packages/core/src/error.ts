/** Stable identifiers that callers may switch on. */
export type ErrorCode =
  | "bad-input" // an argument, file or configuration that cannot be used as given
  | "bad-format" // a file whose bytes are not what its format promises
  | "not-found" // a file, key, class or model that does not exist
  | "unsupported" // valid in itself, but not implemented here
  | "unavailable" // an engine, device or optional package that is absent on this machine
  | "io" // the operating system refused: full disk, permissions
  | "out-of-memory" // arrays that this machine has no room for
  | "diverged" // a loss or gradient became NaN or infinite
  | "aborted"; // an AbortSignal fired

const marker = Symbol.for("@aligntok/error");

/**
 * The only error class of the `@aligntok` packages.
 *
 * Messages read `what: expected ..., got .... next step.`; `isInstance` works across duplicate
 * copies of this package, which `instanceof` does not.
 */
export class AlignTokError extends Error {
  readonly code: ErrorCode;
  readonly [marker] = true;

  constructor(code: ErrorCode, message: string, options: { readonly cause?: unknown } = {}) {
    super(message, options);
    this.name = "AlignTokError";
    this.code = code;
  }

  static isInstance(error: unknown): error is AlignTokError {
    return typeof error === "object" && error !== null && marker in error;
  }
}

/** Throws an AlignTokError with code `bad-input` unless `condition` holds. */
export function check(condition: unknown, message: string | (() => string)): asserts condition {
  if (!condition) {
    throw new AlignTokError("bad-input", typeof message === "function" ? message() : message);
  }
}

/** At most five names of a long list, with the count of the rest: `a, b, c, d, e and 12 more`. */
export function listSome(names: readonly string[], most = 5): string {
  const shown = names.slice(0, most).join(", ");
  return names.length > most ? `${shown} and ${names.length - most} more` : shown;
}
