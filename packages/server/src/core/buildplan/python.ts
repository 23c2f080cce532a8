// Python: dependencies into a folder of the bundle, and a server for the application that the files hold.
import { takeNotes, brokenManifest, exec, step, type Broken, type Draft, type Notes, type Processes } from "./draft.ts";
import type { BuildStep, BuildTool } from "@berth/contract/buildplan.ts";
import { inFolder } from "./command.ts";
import { nodeAssets } from "./node.ts";
import { collectsStatic, mainProgram, pythonApp } from "./pythonapp.ts";
import { declaredScripts, pythonDependencies, pythonFolder, uvTop, type Pyproject } from "./pythondeps.ts";
import { rangeOfPep440, rangeOfPin, rangeOfPoetry } from "./ranges.ts";
import { digText, joinPath, readToml, relativePath, type Look } from "./source.ts";
import { chooseVersion, saidByFile, saidBySwitchers, type VersionSaid } from "./versions.ts";

const manifests = ["requirements.txt", "pyproject.toml", "uv.lock", "poetry.lock", "Pipfile", "setup.py", "manage.py"];

export function detectPython(look: Look): Draft | Broken | undefined {
  const manifest = manifests.find((file) => look.has(file));
  const worker = look.has("worker.py") ? "worker.py" : undefined;
  const program = mainProgram(look) ?? worker;
  if (manifest === undefined && program === undefined) return undefined;
  const notes = takeNotes();
  notes.found(
    look.label(manifest ?? program ?? ""),
    manifest === undefined ? "a Python program without a list of dependencies: nothing is installed" : "a Python project",
  );
  const pyproject = readToml(look, "pyproject.toml");
  const uv = uvTop(look);
  const root = uv?.root ?? look.root;
  const folder = relativePath(root, look.root);
  if (folder !== ".")
    notes.found(joinPath(root, "pyproject.toml"), `the uv workspace that ${folder} belongs to; the plan's root is its folder`);
  const read = pythonDependencies(look, pyproject, uv, notes);
  if (!read.ok) return brokenManifest(look, read.file, read.reason);
  const dependencies = read.value;
  const app = pythonApp(look, dependencies.names, notes);
  if (app.flavour !== undefined) notes.found(look.label(manifest ?? program ?? ""), `uses ${app.flavour}`);

  const processes = new Map<string, Processes[string]>();
  const web = app.web ?? scriptProcess(look, pyproject, notes);
  if (web !== undefined) processes.set("web", web);
  if (worker !== undefined) processes.set("worker", { command: exec("python3", worker), why: worker });
  const assets = folder === "." ? nodeAssets(look, true, notes) : undefined;
  const python: BuildTool = { name: "python", ...pythonVersion(look, pyproject, notes), phase: "both" };
  const collect: BuildStep[] =
    app.flavour === "django" && collectsStatic(look)
      ? [
          step(
            "build",
            inFolder(folder, exec("python3", "manage.py", "collectstatic", "--noinput")),
            "the settings have STATIC_ROOT",
            false,
          ),
        ]
      : [];
  const needsTools = dependencies.steps.length > 0;
  const importRoot =
    app.importRoot !== undefined || (look.files.some((file) => /^src\/[^/]+\/__init__\.py$/.test(file)) && !look.has("src/__init__.py"))
      ? `:$ROOT/${joinPath(folder, "src")}`
      : "";
  return {
    kind: "python",
    flavour: app.flavour,
    root,
    strength: manifest === undefined ? "file" : "manifest",
    tools: [python, ...(needsTools ? dependencies.tools : []), ...(assets?.tools ?? [])],
    steps: [...dependencies.steps, ...(assets?.steps ?? []), ...collect],
    processes: Object.fromEntries([...processes].map(([name, { command, why }]) => [name, { command: inFolder(folder, command), why }])),
    env: { PYTHONPATH: `$ROOT/${pythonFolder}${importRoot}`, PATH: `$ROOT/${pythonFolder}/bin:$PATH`, PYTHONUNBUFFERED: "1" },
    caches: [...(needsTools ? dependencies.caches : []), ...(assets?.caches ?? [])],
    exclude: [".berth/requirements.txt", ...(assets?.exclude ?? [])].filter(() => needsTools || assets !== undefined),
    notes,
  };
}

/** A package that is no framework's but declares a program of its own, when there is exactly one. */
function scriptProcess(look: Look, pyproject: Pyproject, notes: Notes): Processes[string] | undefined {
  const scripts = [...declaredScripts(pyproject)];
  const [only] = scripts;
  const match = scripts.length === 1 && only !== undefined ? /^([A-Za-z_][\w.]*):([A-Za-z_]\w*)$/.exec(only[1]) : null;
  if (match === null) {
    const module = look.files.find((file) => /^(?:src\/)?[A-Za-z_]\w*\/__main__\.py$/.test(file));
    return module === undefined ? undefined : { command: exec("python3", "-m", module.split("/").at(-2) ?? ""), why: module };
  }
  notes.found(look.label("pyproject.toml"), `declares the program ${only?.[0] ?? ""}`);
  const [, module = "", name = ""] = match;
  return {
    command: exec("python3", "-c", `import sys; from ${module} import ${name}; sys.exit(${name}())`),
    why: "pyproject.toml declares one program",
  };
}

function pythonVersion(look: Look, pyproject: Pyproject, notes: Notes): { wanted: string; why: string } {
  const said: VersionSaid[] = [...saidByFile(look, [".python-version", "runtime.txt"], "minor")];
  const pipfile = readToml(look, "Pipfile");
  const pinned =
    pipfile !== undefined && pipfile.ok
      ? (digText(pipfile.value, "requires", "python_full_version") ?? digText(pipfile.value, "requires", "python_version"))
      : undefined;
  if (pinned !== undefined) said.push({ file: look.label("Pipfile"), says: pinned, wanted: rangeOfPin(pinned, "minor") });
  said.push(...saidBySwitchers(look, ["python"], "minor", notes));
  const table = pyproject !== undefined && pyproject.ok ? pyproject.value : {};
  const requires = digText(table, "project", "requires-python");
  if (requires !== undefined) said.push({ file: look.label("pyproject.toml"), says: requires, wanted: rangeOfPep440(requires) });
  const poetry = digText(table, "tool", "poetry", "dependencies", "python");
  if (poetry !== undefined) said.push({ file: look.label("pyproject.toml"), says: poetry, wanted: rangeOfPoetry(poetry) });
  return chooseVersion("python", said, notes);
}
