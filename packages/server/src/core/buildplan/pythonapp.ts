// Finds a Python project's application object and the command that serves it. It reads module texts with patterns; nothing is imported or run.
import { bindHost, exec, shell, type Notes, type Processes } from "./draft.ts";
import { shellWord } from "./command.ts";
import { baseOf, parentOf, type Look } from "./source.ts";

type Process = Processes[string];
export interface PythonApp {
  readonly flavour?: string;
  readonly web?: Process;
  /** `src` when modules are imported from there. */ readonly importRoot?: string;
}

interface Framework {
  readonly flavour: string;
  readonly packages: readonly string[];
  readonly interface: "wsgi" | "asgi";
  readonly factory: RegExp;
}

const creates = (names: string): RegExp =>
  new RegExp(`^([A-Za-z_]\\w*)[ \\t]*(?::[^=\\n]+)?=[ \\t]*(?:[A-Za-z_][\\w.]*\\.)?(?:${names})\\(`, "m");

const frameworks: readonly Framework[] = [
  { flavour: "fastapi", packages: ["fastapi"], interface: "asgi", factory: creates("FastAPI") },
  { flavour: "litestar", packages: ["litestar"], interface: "asgi", factory: creates("Litestar") },
  { flavour: "quart", packages: ["quart"], interface: "asgi", factory: creates("Quart") },
  { flavour: "starlette", packages: ["starlette"], interface: "asgi", factory: creates("Starlette") },
  { flavour: "flask", packages: ["flask"], interface: "wsgi", factory: creates("Flask|APIFlask") },
  { flavour: "falcon", packages: ["falcon"], interface: "wsgi", factory: creates("falcon\\.App|App|API") },
  { flavour: "bottle", packages: ["bottle"], interface: "wsgi", factory: creates("Bottle|default_app") },
  { flavour: "pyramid", packages: ["pyramid"], interface: "wsgi", factory: /^(app|application)[ \t]*=/m },
];

const bases = ["main", "app", "wsgi", "asgi", "application", "server", "api", "run", "index"];

/** What serves the project over HTTP, as far as its packages and files tell. */
export function pythonApp(look: Look, packages: ReadonlySet<string>, notes: Notes): PythonApp {
  if (look.has("manage.py") && (packages.has("django") || /\bdjango\b/.test(look.read("manage.py") ?? "")))
    return { flavour: "django", ...django(look, packages, notes) };
  const framework = frameworks.find((item) => item.packages.some((name) => packages.has(name)));
  if (framework !== undefined) return { flavour: framework.flavour, ...served(look, framework, packages, notes) };
  if (packages.has("streamlit")) return { flavour: "streamlit", ...streamlit(look) };
  return plain(look);
}

/** The file to run when no framework is known. */
export function mainProgram(look: Look): string | undefined {
  return [
    ...["main", "app", "server", "run", "wsgi", "index"].map((base) => `${base}.py`),
    "__main__.py",
    "src/main.py",
    "src/app.py",
    "src/server.py",
  ].find((file) => look.has(file));
}

function plain(look: Look): PythonApp {
  const file = mainProgram(look);
  return file === undefined ? {} : { web: { command: exec("python3", file), why: `${file} is there` } };
}

function streamlit(look: Look): PythonApp {
  const file = ["streamlit_app.py", "app.py", "main.py"].find((name) => look.has(name)) ?? mainProgram(look);
  if (file === undefined) return {};
  return {
    web: {
      command: shell(
        `exec python3 -m streamlit run ${shellWord(file)} --server.port $PORT --server.address ${bindHost} --server.headless true`,
      ),
      why: `streamlit runs ${file}`,
    },
  };
}

/** The module that holds the project's WSGI or ASGI application, nearest to the top. */
function djangoModule(look: Look, name: "wsgi" | "asgi"): string | undefined {
  const file = look.files
    .filter((item) => baseOf(item) === `${name}.py` && parentOf(item) !== ".")
    .sort((a, b) => a.split("/").length - b.split("/").length)[0];
  return file === undefined ? undefined : moduleOf(file);
}

function django(look: Look, packages: ReadonlySet<string>, notes: Notes): Pick<PythonApp, "web"> {
  const wsgi = djangoModule(look, "wsgi");
  const asgi = djangoModule(look, "asgi");
  if (wsgi !== undefined && packages.has("gunicorn"))
    return { web: { command: gunicorn(`${wsgi}:application`), why: `gunicorn serves ${wsgi}` } };
  const asgiServer = asgi === undefined ? undefined : asgiCommand(`${asgi}:application`, packages);
  if (asgiServer !== undefined) return { web: { command: asgiServer, why: `${asgi ?? ""} is served as ASGI` } };
  const wsgiServer = wsgi === undefined ? undefined : wsgiCommand(`${wsgi}:application`, packages);
  if (wsgiServer !== undefined) return { web: { command: wsgiServer, why: `${wsgi ?? ""} is served as WSGI` } };
  notes.warn("development_server", { program: "manage.py runserver", better: "gunicorn to the dependencies" });
  return { web: { command: shell(`exec python3 manage.py runserver --noreload ${bindHost}:$PORT`), why: "manage.py" } };
}

/** Whether Django's settings collect static files into a folder of the project. */
export function collectsStatic(look: Look): boolean {
  return look.files.some(
    (file) => /(?:^|\/)settings(?:\.py$|\/[^/]+\.py$)/.test(file) && /^[ \t]*STATIC_ROOT[ \t]*=/m.test(look.read(file) ?? ""),
  );
}

interface Found {
  readonly file: string;
  readonly target: string;
  readonly text: string;
  readonly factory: boolean;
}

function served(look: Look, framework: Framework, packages: ReadonlySet<string>, notes: Notes): Pick<PythonApp, "web" | "importRoot"> {
  const found = applicationIn(look, framework);
  if (found === undefined) return plain(look);
  const root = /^src\//.test(found.file) ? { importRoot: "src" } : {};
  notes.found(look.label(found.file), `holds the ${framework.flavour} application ${found.target}`);
  const why = `${found.file} holds ${found.target}`;
  const target = found.target;
  const command =
    framework.interface === "asgi" ? asgiCommand(target, packages, found.factory) : wsgiCommand(target, packages, found.factory);
  if (command !== undefined) return { ...root, web: { command, why } };
  const runsItself = /^if __name__[ \t]*==/m.test(found.text);
  if (runsItself && (framework.interface === "asgi" || /\bPORT\b/.test(found.text)))
    return { ...root, web: { command: exec("python3", found.file), why: `${found.file} starts its own server` } };
  if (framework.flavour === "flask") {
    notes.warn("development_server", { program: "flask run", better: "gunicorn to the dependencies" });
    return {
      ...root,
      web: { command: shell(`exec env FLASK_APP=${shellWord(target)} python3 -m flask run --host ${bindHost} --port $PORT`), why },
    };
  }
  if (runsItself) return { ...root, web: { command: exec("python3", found.file), why: `${found.file} starts its own server` } };
  notes.warn("server_missing", { framework: framework.flavour, better: framework.interface === "asgi" ? "uvicorn" : "gunicorn" });
  return root;
}

/** Modules at the top come first, then those of packages, then those below `src`. */
function applicationIn(look: Look, framework: Framework): Found | undefined {
  const rank = (file: string): number =>
    file.split("/").length * 100 + (/__init__\.py$/.test(file) ? 50 : Math.max(0, bases.indexOf(baseOf(file).slice(0, -3))));
  const candidates = look.files
    .filter((file) => file.endsWith(".py") && file.split("/").length <= 4 && !/(?:^|\/)(?:tests?|migrations|docs|examples)\//.test(file))
    .sort((a, b) => rank(a) - rank(b) || (a < b ? -1 : 1));
  const texts = candidates.map((file) => ({ file, text: look.read(file) ?? "" }));
  for (const { file, text } of texts) {
    const name = framework.factory.exec(text)?.[1];
    if (name !== undefined) return { file, text, target: `${moduleOf(file)}:${name}`, factory: false };
  }
  const factory = texts
    .map(({ file, text }) => ({ file, text, name: /^def (create_app|make_app|create_application)\(/m.exec(text)?.[1] }))
    .find(({ name }) => name !== undefined);
  if (factory?.name === undefined) return undefined;
  const called =
    framework.interface === "wsgi" ? `${moduleOf(factory.file)}:${factory.name}()` : `${moduleOf(factory.file)}:${factory.name}`;
  return { file: factory.file, text: factory.text, target: called, factory: true };
}

function moduleOf(file: string): string {
  return file
    .replace(/^src\//, "")
    .replace(/(?:\/__init__)?\.py$/, "")
    .replaceAll("/", ".");
}

function gunicorn(target: string): Process["command"] {
  return shell(`exec python3 -m gunicorn --bind ${bindHost}:$PORT ${shellWord(target)}`);
}

function asgiCommand(target: string, packages: ReadonlySet<string>, factory = false): Process["command"] | undefined {
  const word = shellWord(target);
  if (packages.has("uvicorn") || packages.has("fastapi[standard]") || packages.has("fastapi[all]") || packages.has("litestar[standard]"))
    return shell(`exec python3 -m uvicorn --host ${bindHost} --port $PORT ${factory ? "--factory " : ""}${word}`);
  if (packages.has("hypercorn") || packages.has("quart"))
    return shell(`exec python3 -m hypercorn --bind ${bindHost}:$PORT ${shellWord(factory ? `${target}()` : target)}`);
  if (packages.has("granian"))
    return shell(`exec python3 -m granian --interface asgi --host ${bindHost} --port $PORT ${factory ? "--factory " : ""}${word}`);
  if (packages.has("daphne") && !factory) return shell(`exec python3 -m daphne -b ${bindHost} -p $PORT ${word}`);
  return undefined;
}

function wsgiCommand(target: string, packages: ReadonlySet<string>, factory = false): Process["command"] | undefined {
  if (packages.has("gunicorn")) return gunicorn(target);
  if (packages.has("waitress"))
    return shell(
      `exec python3 -m waitress --listen=${bindHost}:$PORT ${factory ? `--call ${shellWord(target.replace("()", ""))}` : shellWord(target)}`,
    );
  if (packages.has("granian") && !factory)
    return shell(`exec python3 -m granian --interface wsgi --host ${bindHost} --port $PORT ${shellWord(target)}`);
  return undefined;
}
