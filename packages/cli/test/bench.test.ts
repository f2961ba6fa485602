import { chmod, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { openCheckpoint } from "@aligntok/checkpoint";
import { loadEncoder, vitModels } from "@aligntok/encoders";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { cases, selectCases } from "../src/bench/cases.ts";
import { startContestant } from "../src/bench/contestant.ts";
import { writeEncoderFolder } from "../src/bench/encoder-folder.ts";
import { type Row, runRace } from "../src/bench/race.ts";
import { formatTable } from "../src/bench/table.ts";
import { createWeights } from "../src/bench/weights.ts";
import { aligntok } from "./command-line.ts";

let folder = "";
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "aligntok-bench-"));
});
afterAll(() => rm(folder, { recursive: true }));

/** A program that stands in for a Python with torch. */
async function fakePython(name: string, script: string): Promise<string> {
  const path = join(folder, name);
  await writeFile(path, `#!/bin/sh\nif [ "$2" = --version ]; then echo 9.9; exit; fi\n${script}\n`);
  await chmod(path, 0o755);
  return path;
}

const quick = ["bench", "--only", "matmul", "--repeats", "2", "--threads", "1"];

describe("the command", () => {
  test("--json gives machine and rows, a peer that answers gives the ratio of the medians", async () => {
    const python = await fakePython(
      "answers",
      `echo '{"parameters": 0, "gflop": 17.18, "variant": "abacus"}'
while read order count; do
  if [ "$order" = run ]; then echo '{"ms": [3000000]}'; else echo '{"rssMb": 7}'; exit; fi
done`,
    );
    const { status, stdout, stderr } = await aligntok([...quick, "--python", python, "--json"]);
    expect(stderr).not.toContain("warn");
    expect(status).toBe(0);
    const { machine, threads, peer, rows } = JSON.parse(stdout);
    expect(machine).toContain("cores");
    expect(threads).toBe(1);
    expect(peer).toBe("PyTorch 9.9");
    expect(rows).toHaveLength(1);
    const [row] = rows as Row[];
    expect(row).toMatchObject({ case: "matmul", peer: "PyTorch 9.9 abacus", peerMs: 3e6 });
    expect(row).toMatchObject({ peerRssMb: 7, matmulShare: 1, parameters: 0 });
    expect(row!.ms).toBeGreaterThan(0);
    expect(row!.ratio).toBeCloseTo(3e6 / row!.ms, 6);
    expect(row!.gflops).toBeCloseTo((2 * 2.048 ** 3) / (row!.ms / 1000), 6);
    expect(row!.rssMb).toBeGreaterThan(2 * 2048 ** 2 * 4 * 2 ** -20); // the two matrices at least
  });

  test("a peer that computes something else, or fails, is told; our row stays, and the status is 1", async () => {
    const other = await fakePython("other", `echo '{"parameters": 5, "gflop": 17.18}'; read order`);
    const ill = await fakePython("ill", `echo "RuntimeError: no memory" >&2; exit 3`);
    for (const [python, said] of [
      [other, "expected 0 parameters, got 5"],
      [ill, "RuntimeError: no memory"],
    ] as const) {
      const { status, stdout, stderr } = await aligntok([...quick, "--python", python]);
      expect(status).toBe(1);
      expect(stdout).toMatch(/\| matmul +\| +[\d.]+ \| +\| /);
      expect(stderr).toContain(`warn: peer of matmul: `);
      expect(stderr).toContain(said);
      expect(stderr).toMatch(/aligntok: bench: [^\n]+peer of matmul[^\n]+\n$/);
    }
  });

  test("cases that the engine cannot run are skipped and named", async () => {
    const { status, stderr } = await aligntok(
      ["bench", "--only", "vits14-forward-int8", "--engine", "reference"],
      (child, said) => said.includes("skipped") && !child.killed && child.kill("SIGINT"), // a product takes it long
    );
    expect(status).toBe(130);
    expect(stderr).toContain("vits14-forward-int8: skipped, for it runs on onnxruntime only");
    expect(stderr).not.toContain("warn: vits14-forward-int8");
  });

  test("a Python that is absent or has no torch is one line with the next step", async () => {
    const absent = await aligntok([...quick, "--python", join(folder, "absent")]);
    expect(absent).toMatchObject({ status: 2, stdout: "" });
    expect(absent.stderr).toMatch(/^aligntok: --python \S+absent: expected [^\n]+ENOENT[^\n]+\n$/);
    const path = join(folder, "bare");
    await writeFile(
      path,
      "#!/bin/sh\necho \"ModuleNotFoundError: No module named 'torch'\" >&2; exit 1\n",
    );
    await chmod(path, 0o755);
    const bare = await aligntok([...quick, "--python", path]);
    expect(bare).toMatchObject({ status: 1, stdout: "" });
    expect(bare.stderr).toMatch(/^aligntok: [^\n]+'torch'[^\n]+ -m pip install torch numpy\.\n$/);
  });

  test("a name that no case has, and a suite that is none, are bad usage", async () => {
    const only = await aligntok(["bench", "--only", "vits15"]);
    expect(only).toMatchObject({ status: 2, stdout: "" });
    expect(only.stderr).toMatch(/^aligntok: --only vits15: [^\n]+vits14-forward[^\n]+\n$/);
    const suite = await aligntok(["bench", "--suite", "fast"]);
    expect(suite).toMatchObject({ status: 2, stdout: "" });
    const measure = await aligntok(["bench", "--measure", "nothing"]);
    expect(measure).toMatchObject({ status: 2, stdout: "" });
  });
});

describe("features of files", () => {
  const only = ["bench", "--suite", "encoders", "--only", "vits14-encode-single", "--repeats", "1"];

  test("are compared before the race: a peer whose differ is told so", async () => {
    const path = join(folder, "zeros");
    const python = await fakePython(
      "wrong-features",
      `head -c 789504 /dev/zero > "${path}"
case "$1 $2" in *peer.py*encode*) echo '{"parameters": 22056192, "features": "${path}"}' ;; *) exit 3 ;; esac
read order`,
    );
    const { status, stdout, stderr } = await aligntok([...only, "--python", python, "--json"]);
    expect(status).toBe(1);
    expect(stderr).toMatch(
      /peer vits14-encode-single: expected features within 0\.001 of ours, got \d/,
    );
    const row = (JSON.parse(stdout).rows as Row[]).find(
      (each) => each.case === "vits14-encode-single",
    );
    expect(row).toMatchObject({ bar: 1.4, parameters: 22056192, transformersJs: { bar: 1.1 } });
    expect(row!.ms).toBeGreaterThan(0);
    expect(row!.transformersJs!.peerError).toContain("pip install torch transformers onnx");
  });
});

describe("a contestant", () => {
  const { signal } = new AbortController();
  const ready = `echo $$ > "$0"; echo '{}'`;

  /** Whether the process that wrote its number to a file of this name comes to an end. */
  async function expectEnd(file: string): Promise<void> {
    const pid = Number(await readFile(file, "utf8"));
    expect(pid).toBeGreaterThan(1);
    await vi.waitFor(() => expect(() => process.kill(pid, 0)).toThrow("ESRCH"));
  }

  test("that prints something else is told so and killed", async () => {
    const file = join(folder, "stray");
    const script = `echo $$ > "$0"; echo "loading weights"; exec sleep 60`;
    await expect(startContestant("sh", ["-c", script, file], { signal })).rejects.toMatchObject({
      code: "unavailable",
      message: expect.stringMatching(/expected a line of JSON .*, got "loading weights"/),
    });
    await expectEnd(file);
  });

  test("that hangs is killed after its time, which grows with the runs", async () => {
    const file = join(folder, "hangs");
    const script = `${ready}; read order; sleep 1; echo '{"ms": [1]}'; exec sleep 60`;
    const options = { signal, answerMs: 600 };
    const contestant = await startContestant("sh", ["-c", script, file], options);
    expect(await contestant.run(5)).toEqual([1]);
    await expect(contestant.run(1)).rejects.toMatchObject({
      code: "unavailable",
      message: "expected an answer within 0.6 s, got none. it hangs",
    });
    await expectEnd(file);
  });
});

test("peers start beside our process, or when it has ended where a case asks for that", async () => {
  const { signal } = new AbortController();
  const item = cases.find(({ name }) => name === "matmul")!;
  const countChildren = () =>
    process.getActiveResourcesInfo().filter((kind) => kind === "ProcessWrap").length;
  const before = countChildren();
  for (const apart of [false, true]) {
    let children = Number.NaN;
    const ready = JSON.stringify({ parameters: 0, gflop: item.gflop });
    const script = `echo '${ready}'; read order; echo '{"ms": [1]}'; read order; echo '{"rssMb": 7}'`;
    const peer = {
      name: "clock",
      start: async () => {
        await setTimeout(50); // a process that has ended is counted until the next turn of the event loop
        children = countChildren() - before;
        return startContestant("sh", ["-c", script], { signal });
      },
    };
    const options = { engine: "onnxruntime", threads: 1, repeats: 1, signal, peer } as const;
    const row = await runRace({ ...item, apart }, options);
    expect(row).toMatchObject({ peer: "clock", peerMs: 1, peerRssMb: 7 });
    expect(row.ms).toBeGreaterThan(1);
    expect(row.rssMb).toBeGreaterThan(2 * 2048 ** 2 * 4 * 2 ** -20);
    expect(children).toBe(apart ? 0 : 1);
  }
});

describe("the cases", () => {
  test("have names of their own, and suites are parts of all", () => {
    const names = cases.map(({ name }) => name);
    expect(new Set(names).size).toBe(names.length);
    expect(selectCases("all")).toEqual(cases);
    const engine = selectCases("engine").map(({ name }) => name);
    expect(engine[0]).toBe("matmul");
    expect(engine).toContain("adamw-ema-100m");
    const families = ["encoders", "train", "paper"] as const;
    const suites = families.flatMap((family) => selectCases(family));
    expect(new Set(suites).size).toBe(cases.length);
    expect(engine).not.toContain("vits14-encode-single"); // which writes weights to the disk
    expect(engine).not.toContain("stage1-paper-step"); // which takes minutes
    expect(selectCases("encoders", "vitl14-encode").map(({ name }) => name)).toEqual([
      "matmul",
      "vitl14-encode-single",
      "vitl14-encode-batch",
      "vitl14-encode-int8",
    ]);
    expect(selectCases("train", "stage2").map(({ name }) => name)).toEqual([
      "matmul",
      "stage2-step",
    ]);
  });

  test("weights keep the scale of what they multiply", () => {
    const {
      w,
      "n.weight": norm,
      "n.bias": bias,
    } = createWeights({
      w: [500, 400],
      "n.weight": [3],
      "n.bias": [2],
    });
    const squares = w!.data.reduce((sum, x) => sum + x * x, 0);
    expect(squares).toBeCloseTo(500, -1);
    expect([...norm!.data, ...bias!.data]).toEqual([1, 1, 1, 0, 0]);
  });
});

test("transformers.js has columns of its own where a row has it", () => {
  const row = { what: "", rssMb: 100, compileMs: 0, parameters: 1 };
  const second = { peer: "transformers.js 4", peerMs: 300, ratio: 1.2, bar: 1.1, peerRssMb: 200 };
  const both = { ...row, case: "b", ms: 250, peerMs: 400, ratio: 1.6, bar: 1.4 };
  const [title] = formatTable([both]);
  expect(title).not.toContain("t.js");
  const lines = formatTable([
    { ...row, case: "a", ms: 1 },
    { ...both, transformersJs: second },
  ]);
  expect(lines[0]).toMatch(/ratio \| bar \| t\.js ms \| ratio \| bar \|/);
  expect(lines[3]).toMatch(/\| +250 \| +400 \| +1\.60 \| 1\.4 \| +300 \| +1\.20 \| 1\.1 \|/);
  expect(new Set(lines.map(({ length }) => length)).size).toBe(1);
});

test("a folder of random weights is one that the encoder loads, with no two matrices equal", async () => {
  const path = join(folder, "encoder");
  await writeEncoderFolder(path, "dinov2_vits14");
  const encoder = await loadEncoder(path);
  expect(encoder.config).toMatchObject({
    ...vitModels.dinov2_vits14,
    positionResampling: "huggingface",
  });
  const { tensors } = await openCheckpoint(path);
  expect(Object.keys(tensors)).toContain("encoder.layer.11.attention.attention.value.weight");
  const matrices = Object.values(tensors).filter(({ shape }) => shape.length > 1);
  const starts = new Set(matrices.map(({ data }) => (data as Float32Array)[0]));
  expect(starts.size).toBe(matrices.length);
  encoder.dispose();
});

test("the table has a line a row, all of one width, and leaves out what is unknown", () => {
  const row = { what: "", rssMb: 1234.5, compileMs: 7.06, parameters: 1 };
  const lines = formatTable([
    { ...row, case: "a", ms: 12.345 },
    { ...row, case: "longer", ms: 1e3, peerMs: 1500, ratio: 1.5, bar: 2, matmulShare: 0.914 },
  ]);
  expect(lines).toHaveLength(4);
  expect(new Set(lines.map(({ length }) => length)).size).toBe(1);
  expect(lines[2]).toMatch(/^\| a {6}\| 12.3 \| +\| +\| +\| +\| +\| +12\d\d \| +\| +7.06 \|$/);
  expect(lines[3]).toMatch(/longer \| 1000 \| +1500 \| +1.50 \| +2 \| +\| +91 % \|/);
});
