import { AlignTokError, type ErrorCode } from "@aligntok/core";

/** What the command says and how it ends when something goes wrong. */
export interface Failure {
  /** 1 failed, 2 bad usage or bad input, 130 interrupted. */
  readonly exitCode: 1 | 2 | 130;
  /** One line: what, and the next step. */
  readonly message: string;
}

const badInput: ReadonlySet<ErrorCode> = new Set([
  "bad-input",
  "bad-format",
  "not-found",
  "unsupported",
]);

const nextSteps: Readonly<Record<string, string>> = {
  ENOENT: "no such file or folder. check the path",
  EACCES: "permission denied. choose another place or change its permissions",
  EPERM: "operation not permitted. choose another place",
  EROFS: "the file system is read-only. choose another place",
  ENOSPC: "the disk is full. free some space and run the same command again",
  EDQUOT: "the disk quota is used up. free some space and run the same command again",
  ENOTDIR: "a file stands where a folder is needed. choose another path",
  EISDIR: "a folder stands where a file is needed. choose another path",
  EMFILE: "too many open files. raise the limit with ulimit -n",
};

/** Describes anything that was thrown, on one line. */
export function describeFailure(error: unknown): Failure {
  if (AlignTokError.isInstance(error)) {
    const { code, message } = error;
    if (code === "aborted") return { exitCode: 130, message: oneLine(message) };
    return { exitCode: badInput.has(code) ? 2 : 1, message: oneLine(message) };
  }
  if (error instanceof Error) {
    const { code, path } = error as NodeJS.ErrnoException;
    const step = code ? nextSteps[code] : undefined;
    if (step) {
      return { exitCode: code === "ENOENT" ? 2 : 1, message: path ? `${path}: ${step}` : step };
    }
    if (error.name === "AbortError") return { exitCode: 130, message: "interrupted" };
    return { exitCode: 1, message: `${oneLine(error.message)}. add --log-level debug for details` };
  }
  return { exitCode: 1, message: oneLine(String(error)) };
}

/**
 * For the `catch` of what can be continued: names the command's own next step where it was interrupted, which a library
 * cannot know.
 */
export function continuedBy(step: string): (error: unknown) => never {
  return (error) => {
    if (!AlignTokError.isInstance(error) || error.code !== "aborted") throw error;
    const what = error.message.replace(/\. call it again .*$/, "");
    throw new AlignTokError("aborted", `${what}. ${step}`, { cause: error });
  };
}

function oneLine(text: string): string {
  return text.replace(/\s+/g, " ").trim();
}
