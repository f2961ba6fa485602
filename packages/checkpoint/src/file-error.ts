import { AlignTokError } from "@aligntok/core";

const nextSteps: Readonly<Record<string, string>> = {
  EACCES: "check the permissions of the file and its folder",
  EPERM: "check the permissions of the file and its folder",
  EROFS: "choose a folder on a writable disk",
  ENOSPC: "free some space on the disk and run it again",
  EDQUOT: "free some of your quota and run it again",
  EISDIR: "give the path of a file, not of a folder",
  ENOTDIR: "give a path whose parents are folders",
  EMFILE: "close some files or raise the limit (ulimit -n)",
};

/**
 * What the operating system refused, as an AlignTokError: `not-found` for an absent file or folder,
 * otherwise `io`. Errors that are AlignTokErrors already pass unchanged.
 */
export function fileError(action: "read" | "write", path: string, cause: unknown): AlignTokError {
  if (AlignTokError.isInstance(cause)) return cause;
  const { code = "", message = String(cause) } = cause as { code?: string; message?: string };
  if (code === "ENOENT") {
    const [missing, next] =
      action === "read"
        ? ["an existing file", "check the path"]
        : ["an existing folder to write into", "make it, or choose another path"];
    return new AlignTokError(
      "not-found",
      `${action} ${path}: expected ${missing}, got none. ${next}`,
      { cause },
    );
  }
  const next = nextSteps[code] ?? "see the cause for the call that failed";
  return new AlignTokError("io", `${action} ${path}: ${message}. ${next}`, { cause });
}
