/**
 * Builds `@tensorflow/tfjs-node` for this machine in the folder `.tensorflow`, where `engine: "tensorflow"` finds it:
 * its own download of libtensorflow is old, and is impossible in a closed network. What it needs comes from npm and
 * PyPI: the package itself, Node's native headers, and the libtensorflow inside the tensorflow-cpu wheel.
 *
 * What is there already is kept, so that a second run only checks. Removing the folder undoes everything.
 */
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, renameSync, writeFileSync } from "node:fs";
import { join, relative } from "node:path";
import { root } from "./workspace.ts";

const TFJS_NODE = "@tensorflow/tfjs-node@4.22.0";
const HEADERS = "node-api-headers@1.9.0";
const WHEEL = "tensorflow-cpu==2.21.0";

const folder = join(root, ".tensorflow");
const installed = join(folder, "node_modules/@tensorflow/tfjs-node");
const headers = join(folder, "node_modules/node-api-headers/include");
const addon = join(installed, "lib/napi-v8/tfjs_binding.node");
const compiler = process.env.CXX ?? "c++";

if (process.platform !== "linux") {
  fail(`${process.platform} is not supported, only linux. npm install @tensorflow/tfjs-node there`);
}
requireCommand("python3", "install Python 3.10 or later, with its venv module");
requireCommand(compiler, "install a C++17 compiler (on Debian: apt install g++), or set CXX");
mkdirSync(folder, { recursive: true });

step(`${TFJS_NODE} and ${HEADERS} from npm`, existsSync(installed) && existsSync(headers), () => {
  writeFileSync(join(folder, "package.json"), '{ "private": true }\n');
  const flags = ["--ignore-scripts", "--no-audit", "--no-fund", "--no-save"];
  run("npm", ["install", ...flags, TFJS_NODE, HEADERS], "check the connection to npm's registry");
});

const python = join(folder, "python");
step(`${WHEEL} from PyPI, about 250 MB`, libraries().length > 0, () => {
  run("python3", ["-m", "venv", python], "install Python's venv module (python3-venv on Debian)");
  run(
    join(python, "bin/pip"),
    ["install", "--no-deps", "--disable-pip-version-check", WHEEL],
    "check the connection to PyPI, and that the wheel exists for this version of Python",
  );
});

step("the addon", existsSync(addon), () => {
  const [library] = libraries();
  if (!library) fail(`${WHEEL}: expected libtensorflow_cc.so.2 in it, found none in ${python}`);
  mkdirSync(join(addon, ".."), { recursive: true });
  // Only names of libraries that lie in the wheel, found from where the addon lies.
  const flags = [
    ...["-shared", "-fPIC", "-O2", "-std=gnu++17", "-DNAPI_VERSION=8", "-o", `${addon}.new`],
    ...[`-I${join(installed, "..")}`, `-I${join(library, "include")}`, `-I${headers}`],
    ...["tfjs_backend.cc", "tfjs_binding.cc"].map((name) => join(installed, "binding", name)),
    ...[`-L${library}`, "-l:libtensorflow_cc.so.2", "-l:libtensorflow_framework.so.2"],
    `-Wl,-rpath,$ORIGIN/${relative(join(addon, ".."), library)}`,
  ];
  run(compiler, flags, "a C++17 compiler with its standard library is needed");
  renameSync(`${addon}.new`, addon);
});

const script = "process.stdout.write(require(process.argv[1]).TF_Version)";
const version = run(process.execPath, ["-e", script, addon], `remove ${folder} and run this again`);
console.log(`TensorFlow ${version} is ready: engine "tensorflow" finds it in this repository.`);
console.log(`Elsewhere: export ALIGNTOK_TENSORFLOW=${folder}`);

/** The wheel's folder, once it is installed. */
function libraries(): string[] {
  const lib = join(folder, "python/lib");
  return (existsSync(lib) ? readdirSync(lib) : [])
    .map((version) => join(lib, version, "site-packages/tensorflow"))
    .filter((path) => existsSync(join(path, "libtensorflow_cc.so.2")));
}

function step(what: string, done: boolean, make: () => void): void {
  if (done) {
    console.log(`${what}: already there`);
    return;
  }
  console.log(`${what}: installing`);
  const start = Date.now();
  make();
  console.log(`${what}: done in ${((Date.now() - start) / 1000).toFixed(0)} s`);
}

function requireCommand(command: string, remedy: string): void {
  const { error, status } = spawnSync(command, ["--version"], { stdio: "ignore" });
  if (error || status !== 0) fail(`${command} was not found. ${remedy}`);
}

function run(command: string, args: readonly string[], remedy: string): string {
  const { status, stdout, stderr, error } = spawnSync(command, args, {
    cwd: folder,
    encoding: "utf8",
  });
  if (!error && status === 0) return stdout;
  const said = `${stdout ?? ""}${stderr ?? ""}`.trim().split("\n").slice(-15);
  fail(`${command} ${args.slice(0, 3).join(" ")} failed. ${remedy}\n${error ?? said.join("\n")}`);
}

function fail(message: string): never {
  console.error(`setup of tensorflow: ${message}`);
  process.exit(1);
}
