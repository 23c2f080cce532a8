// Plans for Go, Rust, Java, PHP, Ruby and static sites.
import { describe, expect, it } from "vitest";
import { gist, planOf, type Files } from "./tree.fixture.ts";

const bind = "${HOST:-0.0.0.0}";
const pom = (inside: string): string =>
  `<?xml version="1.0"?>\n<project xmlns="http://maven.apache.org/POM/4.0.0">\n<!-- <artifactId>wrong</artifactId> --><groupId>a</groupId><artifactId>shop</artifactId><version>1.2</version>${inside}</project>`;
const plugin = (id: string, more = ""): string =>
  `<build><plugins><plugin><artifactId>${id}</artifactId>${more}</plugin></plugins></build>`;

interface Case {
  readonly name: string;
  readonly files: Files;
  readonly kind: string;
  readonly steps: string[];
  readonly processes: Record<string, string>;
  readonly tools?: string[];
  readonly warnings?: string[];
  readonly root?: string;
  readonly planRoot?: string;
}

const goBuild = "go build -trimpath '-ldflags=-s -w' -o";
const cargo = (flags: string, binary: string): string =>
  `build: cargo build --release ${flags} && mkdir -p .berth/bin && cp "\${CARGO_TARGET_DIR:-target}/release/${binary}" .berth/bin/`;
const mvn = "-B -ntp -DskipTests";
const composer = "composer install --no-dev --no-interaction --no-progress --prefer-dist";

const go: readonly Case[] = [
  {
    name: "a module without requirements builds offline",
    kind: "go",
    files: { "go.mod": "module x\n\ngo 1.22\n", "main.go": "package main" },
    steps: [`build: ${goBuild} .berth/bin/app . (offline)`],
    processes: { web: ".berth/bin/app" },
    tools: ["go >=1.22.0 build"],
  },
  {
    name: "requirements need the network, and a flavour is named",
    kind: "go/gin",
    files: {
      "go.mod": "module x\ngo 1.21.3\nrequire github.com/gin-gonic/gin v1.9.1\n",
      "go.sum": "github.com/gin-gonic/gin v1.9.1 h1:\n",
      "main.go": "",
    },
    steps: [`build: ${goBuild} .berth/bin/app .`],
    processes: { web: ".berth/bin/app" },
    tools: ["go >=1.21.3 build"],
    warnings: [],
  },
  {
    name: "vendored modules need no network",
    kind: "go/chi",
    files: { "go.mod": "module x\nrequire (\n\tgithub.com/go-chi/chi/v5 v5.0.0\n)\n", "vendor/modules.txt": "", "main.go": "" },
    steps: [`build: ${goBuild} .berth/bin/app . (offline)`],
    processes: { web: ".berth/bin/app" },
  },
  {
    name: "programs below cmd",
    kind: "go",
    files: { "go.mod": "module x/shop\n", "cmd/server/main.go": "", "cmd/worker/main.go": "" },
    steps: [`build: ${goBuild} .berth/bin/server ./cmd/server (offline)`, `build: ${goBuild} .berth/bin/worker ./cmd/worker (offline)`],
    processes: { web: ".berth/bin/server", server: ".berth/bin/server", worker: ".berth/bin/worker" },
    warnings: [],
  },
  {
    name: "programs below cmd without a clear web one",
    kind: "go",
    files: { "go.mod": "module x/shop\n", "cmd/a/main.go": "", "cmd/b/main.go": "" },
    steps: [`build: ${goBuild} .berth/bin/a ./cmd/a (offline)`, `build: ${goBuild} .berth/bin/b ./cmd/b (offline)`],
    processes: { a: ".berth/bin/a", b: ".berth/bin/b" },
    warnings: ["several_programs"],
  },
  {
    name: "no go.mod",
    kind: "go",
    files: { "main.go": "package main", "more.go": "", "main_test.go": "" },
    steps: [`build: ${goBuild} .berth/bin/app main.go more.go (offline)`],
    processes: { web: ".berth/bin/app" },
  },
  {
    name: "go.work above",
    kind: "go",
    root: "svc/api",
    planRoot: ".",
    files: {
      "go.work": "go 1.22\n\nuse (\n\t./svc/api\n\t./lib\n)\n",
      "svc/api/go.mod": "module x/api\n",
      "svc/api/main.go": "",
      "lib/go.mod": "module x/lib",
    },
    steps: [`build: cd svc/api && exec ${goBuild} ../../.berth/bin/app . (offline)`],
    processes: { web: "$ cd svc/api && exec ../../.berth/bin/app" },
  },
  {
    name: "a replaced module beside the folder",
    kind: "go",
    root: "svc/api",
    planRoot: "svc",
    files: {
      "svc/api/go.mod": "module x/api\nrequire x/lib v0.0.0\nreplace x/lib => ../lib\n",
      "svc/api/main.go": "",
      "svc/lib/go.mod": "module x/lib",
    },
    steps: [`build: cd api && exec ${goBuild} ../.berth/bin/app . (offline)`],
    processes: { web: "$ cd api && exec ../.berth/bin/app" },
  },
];

const rust: readonly Case[] = [
  {
    name: "one program",
    kind: "rust/axum",
    files: {
      "Cargo.toml": "[package]\nname = 'shop'\nrust-version = '1.75'\n[dependencies]\naxum = '0.7'\n",
      "Cargo.lock": "",
      "src/main.rs": "",
    },
    steps: [cargo("--locked --package shop", "shop")],
    processes: { web: ".berth/bin/shop" },
    tools: ["rust >=1.75 build"],
  },
  {
    name: "rocket is told its port",
    kind: "rust/rocket",
    files: {
      "Cargo.toml": "[package]\nname = 'shop'\n[dependencies]\nrocket = { version = '0.5' }\n",
      "src/main.rs": "",
      "rust-toolchain": "1.79.0\n",
    },
    steps: [cargo("--package shop", "shop")],
    processes: { web: `$ exec env ROCKET_ADDRESS=${bind} ROCKET_PORT=$PORT .berth/bin/shop` },
    tools: ["rust 1.79.x build"],
  },
  {
    name: "a member of a workspace",
    kind: "rust",
    root: "svc/api",
    planRoot: ".",
    files: {
      "Cargo.toml": "[workspace]\nmembers = ['svc/*']\n",
      "Cargo.lock": "",
      "svc/api/Cargo.toml": "[package]\nname = 'api'\n",
      "svc/api/src/main.rs": "",
    },
    steps: [`${cargo("--locked --package api", "api")} (offline)`],
    processes: { web: "$ cd svc/api && exec ../../.berth/bin/api" },
  },
  {
    name: "a library has no start",
    kind: "rust",
    files: { "Cargo.toml": "[package]\nname = 'shop'\n", "src/lib.rs": "" },
    steps: [],
    processes: {},
  },
];

const java: readonly Case[] = [
  {
    name: "Spring Boot with Maven's wrapper",
    kind: "java/spring-boot",
    files: { "pom.xml": pom(`<properties><java.version>21</java.version></properties>${plugin("spring-boot-maven-plugin")}`), mvnw: "" },
    steps: [`build: sh ./mvnw ${mvn} package`],
    processes: { web: "$ exec java $JAVA_OPTS -Dserver.port=$PORT -jar target/shop-1.2.jar" },
    tools: ["java >=21 both"],
  },
  {
    name: "Quarkus with Maven",
    kind: "java/quarkus",
    files: {
      "pom.xml": pom(`<properties><maven.compiler.release>17</maven.compiler.release></properties>${plugin("quarkus-maven-plugin")}`),
      ".java-version": "17",
    },
    steps: [`build: mvn ${mvn} package`],
    processes: {
      web: `$ exec java $JAVA_OPTS -Dquarkus.http.host=${bind} -Dquarkus.http.port=$PORT -jar target/quarkus-app/quarkus-run.jar`,
    },
    tools: ["java 17.x both", "maven * build"],
  },
  {
    name: "a version that only Maven knows",
    kind: "java/spring-boot",
    files: {
      "pom.xml": pom("")
        .replace("1.2", "${revision}")
        .replace("</project>", `${plugin("spring-boot-maven-plugin")}</project>`),
    },
    steps: [`build: mvn ${mvn} package`],
    processes: {
      web: "$ exec java $JAVA_OPTS -Dserver.port=$PORT -jar \"$(ls target/*.jar | grep -Ev -- '-(sources|javadoc|tests)\\.jar$|/original-' | head -n 1)\"",
    },
  },
  {
    name: "a final name made of properties",
    kind: "java/maven",
    files: {
      "pom.xml": pom(
        "<build><finalName>${project.artifactId}-all</finalName><plugins><plugin><artifactId>maven-shade-plugin</artifactId></plugin></plugins></build>",
      ),
    },
    steps: [`build: mvn ${mvn} package`],
    processes: { web: "$ exec java $JAVA_OPTS -jar target/shop-all.jar" },
  },
  {
    name: "a main class and dependencies",
    kind: "java/maven",
    files: {
      "pom.xml": pom(
        `<dependencies><dependency><groupId>io.javalin</groupId><artifactId>javalin</artifactId></dependency></dependencies>${plugin("maven-jar-plugin", "<configuration><archive><manifest><mainClass>shop.Main</mainClass></manifest></archive></configuration>")}`,
      ),
    },
    steps: [`build: mvn ${mvn} package dependency:copy-dependencies -DincludeScope=runtime`],
    processes: { web: "$ exec java $JAVA_OPTS -cp 'target/classes:target/dependency/*' shop.Main" },
  },
  {
    name: "a war is no program",
    kind: "java/maven",
    files: { "pom.xml": pom("<packaging>war</packaging>") },
    steps: [`build: mvn ${mvn} package`],
    processes: {},
    warnings: ["not_runnable"],
  },
  {
    name: "a module of a Maven project",
    kind: "java/spring-boot",
    root: "api",
    planRoot: ".",
    files: {
      "pom.xml": pom(
        `<packaging>pom</packaging><modules><module>lib</module><module>api</module></modules>${plugin("spring-boot-maven-plugin")}`,
      ),
      "api/pom.xml": pom(""),
    },
    steps: [`build: mvn ${mvn} -pl api -am package`],
    processes: { web: "$ cd api && exec java $JAVA_OPTS -Dserver.port=$PORT -jar target/shop-1.2.jar" },
  },
  {
    name: "Spring Boot with Gradle",
    kind: "java/spring-boot",
    files: {
      "build.gradle":
        "plugins {\n  id 'java'\n  id 'org.springframework.boot' version '3.2.0'\n}\njava { toolchain { languageVersion = JavaLanguageVersion.of(21) } }\n",
      gradlew: "",
    },
    steps: ["build: sh ./gradlew --no-daemon --console=plain bootJar"],
    processes: { web: "$ exec java $JAVA_OPTS -Dserver.port=$PORT -jar build/libs/*.jar" },
    tools: ["java 21.x both"],
  },
  {
    name: "an application with Gradle's Kotlin script",
    kind: "java/gradle",
    files: {
      "build.gradle.kts": 'plugins {\n  application\n}\napplication { mainClass.set("shop.AppKt") }\nkotlin { jvmToolchain(17) }\n',
    },
    steps: [
      "build: gradle --no-daemon --console=plain installDist && rm -rf .berth/app && mkdir -p .berth && cp -R build/install/* .berth/app",
    ],
    processes: { web: "$ exec java $JAVA_OPTS -cp '.berth/app/lib/*' shop.AppKt" },
    tools: ["java 17.x both", "gradle * build"],
  },
  {
    name: "a project of a Gradle build",
    kind: "java/quarkus",
    root: "services/api",
    planRoot: ".",
    files: { "settings.gradle": "include 'lib', 'services:api'\n", "services/api/build.gradle": "plugins { id 'io.quarkus' }" },
    steps: ["build: gradle --no-daemon --console=plain :services:api:quarkusBuild"],
    processes: {
      web: `$ cd services/api && exec java $JAVA_OPTS -Dquarkus.http.host=${bind} -Dquarkus.http.port=$PORT -jar build/quarkus-app/quarkus-run.jar`,
    },
  },
  {
    name: "a jar that is already built",
    kind: "java/jar",
    files: { "shop.jar": "", ".tool-versions": "java temurin-21.0.2+13.0.LTS\n" },
    steps: [],
    processes: { web: "$ exec java $JAVA_OPTS -jar shop.jar" },
    tools: ["java 21.x run"],
  },
];

const php: readonly Case[] = [
  {
    name: "plain pages",
    kind: "php",
    files: { "index.php": "" },
    steps: [],
    processes: { web: `$ exec php -S ${bind}:$PORT -t .` },
    tools: ["php * both"],
  },
  {
    name: "Slim, cached by its lockfile",
    kind: "php/slim",
    files: { "composer.json": { require: { php: "~8.1", "slim/slim": "^4" } }, "composer.lock": '"slim/slim"', "public/index.php": "" },
    steps: [`install: ${composer} [composer.json composer.lock -> vendor]`],
    processes: { web: `$ exec php -S ${bind}:$PORT -t public` },
    tools: ["php ^8.1 both", "composer >=2 build"],
  },
  {
    name: "Laravel: scripts run at every install, assets are built",
    kind: "php/laravel",
    files: {
      "composer.json": { require: { php: "^8.2", "laravel/framework": "^11" }, scripts: { "post-autoload-dump": ["x"] } },
      "composer.lock": '"laravel/framework"',
      artisan: "",
      "public/index.php": "",
      "package.json": { scripts: { build: "vite build" }, devDependencies: { vite: "5" } },
      "package-lock.json": {},
    },
    steps: [
      `install: ${composer} --optimize-autoloader`,
      "install: npm ci --include=dev --no-audit --no-fund [package.json package-lock.json -> node_modules]",
      "build: npm run build",
    ],
    processes: {
      web: `$ cd public && exec php -S ${bind}:$PORT ../vendor/laravel/framework/src/Illuminate/Foundation/resources/server.php`,
    },
  },
  {
    name: "Symfony",
    kind: "php/symfony",
    files: {
      "composer.json": { require: { "symfony/framework-bundle": "^7" } },
      "composer.lock": '"symfony/framework-bundle"',
      "public/index.php": "",
    },
    steps: [`install: ${composer} [composer.json composer.lock -> vendor]`],
    processes: { web: `$ exec php -S ${bind}:$PORT -t public` },
  },
  {
    name: "Composer only to load classes",
    kind: "php",
    files: { "composer.json": { require: { php: ">=8" }, autoload: { "psr-4": { "Shop\\": "src" } } }, "index.php": "" },
    steps: ["install: composer dump-autoload --no-dev --no-interaction (offline)"],
    processes: { web: `$ exec php -S ${bind}:$PORT -t .` },
  },
];

const gemLock = (...gems: string[]): string => `GEM\n\nDEPENDENCIES\n${gems.map((gem) => `  ${gem}\n`).join("")}\nBUNDLED WITH\n   2.5.0\n`;
const bundle = "install: env BUNDLE_FROZEN=true bundle install [Gemfile Gemfile.lock -> vendor/bundle]";
const ruby: readonly Case[] = [
  {
    name: "Rails",
    kind: "ruby/rails",
    files: {
      Gemfile: "source 'x'\nruby '~> 3.2'\ngem 'rails'\ngem \"puma\", \">= 6\"\ngem 'propshaft'\n",
      "Gemfile.lock": gemLock("rails", "puma (>= 6)", "propshaft"),
      "config/puma.rb": "port ENV['PORT']",
      "config.ru": "",
    },
    steps: [bundle, "build: env SECRET_KEY_BASE_DUMMY=1 bundle exec rails assets:precompile"],
    processes: { web: "bundle exec puma -C config/puma.rb" },
    tools: ["ruby >=3.2 <4 both", "bundler * both"],
    warnings: [],
  },
  {
    name: "Sinatra with its own program",
    kind: "ruby/sinatra",
    files: { Gemfile: "gem 'sinatra'\n# gem 'puma'\n", "Gemfile.lock": gemLock("sinatra"), "app.rb": "", ".ruby-version": "ruby-3.3.1" },
    steps: [bundle.replace("Gemfile.lock ->", "Gemfile.lock .ruby-version ->")],
    processes: { web: `$ exec bundle exec ruby app.rb -o ${bind} -p $PORT` },
    tools: ["ruby 3.3.x both", "bundler * both"],
  },
  {
    name: "Rack with puma and a worker",
    kind: "ruby/rack",
    files: { Gemfile: "gem 'puma'\ngem 'sidekiq'\n", "Gemfile.lock": gemLock("puma", "sidekiq"), "config.ru": "" },
    steps: [bundle],
    processes: { web: `$ exec bundle exec puma --bind tcp://${bind}:$PORT`, worker: "bundle exec sidekiq" },
  },
  {
    name: "Rack alone",
    kind: "ruby/rack",
    files: { Gemfile: "gem 'rack', path: 'lib'\n", "Gemfile.lock": gemLock("rack!"), "config.ru": "" },
    steps: ["install: env BUNDLE_FROZEN=true bundle install"],
    processes: { web: `$ exec bundle exec rackup --host ${bind} --port $PORT` },
  },
  {
    name: "an outdated lockfile",
    kind: "ruby",
    files: { Gemfile: "gem 'a'\ngem 'b'\n", "Gemfile.lock": gemLock("a"), "main.rb": "" },
    steps: [bundle],
    processes: { web: "bundle exec ruby main.rb" },
    warnings: ["lockfile_outdated"],
  },
  {
    name: "no gems at all",
    kind: "ruby",
    files: { Gemfile: "source 'x'\n", "main.rb": "" },
    steps: [],
    processes: { web: "ruby main.rb" },
    tools: ["ruby * both"],
  },
];

const statics: readonly Case[] = [
  {
    name: "index.html at the top",
    kind: "static",
    files: { "index.html": "", "app.js": "", "index.js": "" },
    steps: [],
    processes: { web: "berth-static ." },
    tools: [],
  },
  {
    name: "index.html in a folder",
    kind: "static",
    files: { "public/index.html": "", "README.md": "" },
    steps: [],
    processes: { web: "berth-static public" },
  },
  {
    name: "a single-page app by its redirects",
    kind: "static",
    files: { "index.html": "", _redirects: "/* /index.html 200\n" },
    steps: [],
    processes: { web: "berth-static --spa ." },
  },
];

describe.each([
  ["Go", go],
  ["Rust", rust],
  ["Java", java],
  ["PHP", php],
  ["Ruby", ruby],
  ["static sites", statics],
] as const)("%s", (_, cases) => {
  it.each(cases)("$name", ({ files, root, planRoot, kind, steps, processes, tools, warnings }) => {
    const plan = planOf(files, root === undefined ? {} : { root });
    const seen = gist(plan);
    expect({ kind: seen.kind, steps: seen.steps, processes: seen.processes }).toEqual({ kind, steps, processes });
    if (tools !== undefined) expect(seen.tools).toEqual(tools);
    if (warnings !== undefined) expect(seen.warnings).toEqual(warnings);
    if (planRoot !== undefined) expect(plan.root).toBe(planRoot);
  });
});

describe("versions", () => {
  const cases: readonly (readonly [string, Files, string])[] = [
    ["go from .tool-versions beside go.mod", { "go.mod": "module x\n", "main.go": "", ".tool-versions": "golang 1.22.4" }, "1.22.x"],
    ["rust-toolchain.toml", { "Cargo.toml": "[package]\nname='x'", "rust-toolchain.toml": '[toolchain]\nchannel = "1.80.1"' }, "1.80.x"],
    ["a rust channel", { "Cargo.toml": "[package]\nname='x'", "rust-toolchain.toml": '[toolchain]\nchannel = "stable"' }, "*"],
    ["Java 8 by its old name", { "pom.xml": pom("<properties><maven.compiler.source>1.8</maven.compiler.source></properties>") }, ">=8"],
    ["system.properties", { "pom.xml": pom(""), "system.properties": "java.runtime.version=17\n" }, "17.x"],
    ["composer's alternatives", { "composer.json": { require: { php: "^7.4|^8.0" } }, "index.php": "" }, "^7.4 || ^8.0"],
    ["Gemfile with several bounds", { Gemfile: 'ruby ">= 3.1", "< 3.4"\ngem \'x\'', "main.rb": "" }, ">=3.1 <3.4"],
    ["Gemfile that points to a file", { Gemfile: "ruby file: '.ruby-version'\ngem 'x'", ".ruby-version": "3.2.0", "main.rb": "" }, "3.2.x"],
  ];
  it.each(cases)("%s", (_, files, wanted) => {
    expect(planOf(files).tools[0]?.wanted).toBe(wanted);
  });
});
