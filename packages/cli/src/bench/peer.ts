/** PyTorch, which cases are compared with where a Python that has it is named. */
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { AlignTokError } from "@aligntok/core";
import { packageFile } from "../version.ts";
import { type Contestant, startContestant } from "./contestant.ts";
import { withPlan } from "./encode-plan.ts";

export interface Peer {
  /** As `PyTorch 2.13.0`. */
  readonly name: string;
  /** Prepares the peer's twin of a case. */
  start(
    name: string,
    options: {
      readonly threads: number;
      readonly signal: AbortSignal;
      readonly plan?: string | undefined;
    },
  ): Promise<Contestant>;
}

/** Meant for what hangs: on a slow machine the first answer, for which it tries several ways, may take minutes. */
const answerMs = 20 * 60e3;

/**
 * Finds out what a Python offers.
 *
 * @param python a command or path
 * @throws AlignTokError `not-found` where it cannot be started, `unavailable` where it has no PyTorch
 */
export async function findPeer(python: string): Promise<Peer> {
  const script = packageFile("peer/peer.py");
  // Some machines pin OpenBLAS to an old kernel; the peer is measured at its best.
  const { OPENBLAS_CORETYPE: _, OPENBLAS_L2_SIZE: __, ...env } = process.env;
  const { stdout } = await promisify(execFile)(python, [script, "--version"], { env }).catch(
    (error: NodeJS.ErrnoException & { stderr?: string }) => {
      if (error.code === "ENOENT" || error.code === "EACCES") {
        throw new AlignTokError(
          "not-found",
          `--python ${python}: expected a Python that has PyTorch, got nothing that starts (${error.code}). give its path, or leave --python out to measure without a peer`,
        );
      }
      const reason = error.stderr?.trim().split("\n").at(-1) ?? error.message;
      throw new AlignTokError(
        "unavailable",
        `--python ${python}: expected torch and numpy, got ${reason}. run ${python} -m pip install torch numpy`,
      );
    },
  );
  return {
    name: `PyTorch ${stdout.trim()}`,
    start: (name, { threads, signal, plan }) =>
      startContestant(python, [script, name, String(threads)], {
        env: withPlan(env, plan),
        signal,
        answerMs,
      }),
  };
}
