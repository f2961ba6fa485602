/**
 * Keeps a process from ending while one of its threads is inside ONNX Runtime, which aborts the process when it comes
 * back into a thread that is being torn down: exit code 134 after any `process.exit()`. Two numbers in shared memory.
 */
export interface ExitGate {
  /** In the thread, before a task: false where the process ends. */
  enter(): boolean;
  /** In the thread, after a task. */
  leave(): void;
  /** In the process that ends: waits for the tasks under way and lets no other begin. */
  close(): void;
}

const [TASKS, CLOSED] = [0, 1];

export function createGateMemory(): SharedArrayBuffer {
  return new SharedArrayBuffer(8);
}

export function openGate(memory: SharedArrayBuffer): ExitGate {
  const state = new Int32Array(memory);
  function leave(): void {
    Atomics.sub(state, TASKS, 1);
    Atomics.notify(state, TASKS);
  }
  return {
    enter() {
      Atomics.add(state, TASKS, 1);
      if (Atomics.load(state, CLOSED) === 0) return true;
      leave();
      return false;
    },
    leave,
    close() {
      Atomics.store(state, CLOSED, 1);
      for (let tasks = Atomics.load(state, TASKS); tasks > 0; tasks = Atomics.load(state, TASKS)) {
        Atomics.wait(state, TASKS, tasks);
      }
    },
  };
}
