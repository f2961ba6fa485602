import { unlessAborted } from "./unless-aborted.ts";

/** Calls that run one after the other, in the order in which they came. */
export interface Turns {
  /** Waits for the calls before. One that is given up while it waits leaves its place. */
  inTurn<T>(signal: AbortSignal | undefined, work: () => Promise<T>): Promise<T>;
  /** Fulfilled when no call is under way or waits. */
  idle(): Promise<void>;
}

export function createTurns(): Turns {
  let queue: Promise<void> = Promise.resolve();
  return {
    async inTurn(signal, work) {
      const before = queue;
      let leave = () => {};
      queue = new Promise((resolve) => {
        leave = resolve;
      });
      try {
        await unlessAborted(before, signal);
        return await work();
      } finally {
        void before.then(leave);
      }
    },
    idle: () => queue,
  };
}
