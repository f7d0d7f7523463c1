#include "tools/nwc_arguments.h"

#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>
#include <utility>

#include "format/layout.h"
#include "tools/bench.h"
#include "tools/bench_device.h"
#include "tools/bench_load.h"
#include "tools/diff.h"
#include "tools/display.h"
#include "tools/fetch.h"
#include "tools/inspect.h"
#include "tools/manifest.h"
#include "tools/report_text.h"
#include "tools/unpack.h"
#include "tools/verify.h"

#ifndef NWC_VERSION
#error "define NWC_VERSION, the project's version as a string"
#endif

namespace nwc {
namespace {

constexpr int kMaxThreads = 1024;
constexpr int kMaxRuns = 1000;

constexpr const char* kFooter =
    "Examples:\n"
    "  nwc inspect model.nwc\n"
    "  nwc inspect model.nwc --html report.html\n"
    "  nwc verify --deep model.nwc\n"
    "  nwc unpack model.nwc -o folder\n"
    "  nwc unpack model.nwc.index.json -o folder\n"
    "  nwc fetch https://host/model.nwc -o model.nwc\n"
    "  nwc fetch model.nwc --layers 0-3 -o layers.safetensors\n"
    "  nwc diff folder model.nwc\n"
    "  nwc bench model.nwc --json\n"
    "  nwc bench load model.nwc --cold\n"
    "  nwc manifest model.nwc -o manifest.json\n"
    "  nwc fetch https://host/model.nwc --layers 0 --cache ~/.cache/nwc/chunks -o "
    "layer.safetensors\n"
    "'nwc COMMAND --help' tells more. nwc-pack makes containers.\n"
    "\n"
    "Exit codes:\n"
    "  0 done   1 the data is bad   2 wrong usage   3 I/O or system error\n"
    "  130, 143 stopped by SIGINT, SIGTERM";

Status Usage(const std::string& message) { return Status(ErrorCode::kUsage, message); }

// A subcommand that runs `function` with `arguments`, which live as long as the command.
template <typename Arguments>
CLI::App* Add(CLI::App* app, const char* name, const char* description,
              const std::shared_ptr<Arguments>& arguments, Status (*function)(const Arguments&),
              std::function<Status()>* run) {
  CLI::App* command = app->add_subcommand(name, description);
  command->callback([=] { *run = [=] { return function(*arguments); }; });
  return command;
}

CLI::Option* AddFile(CLI::App* command, std::string* file) {
  return command
      ->add_option("FILE", *file, "container, .nwc; a path, or a URL of http:// or https://")
      ->required();
}

// For commands that take a set of containers, too.
void AddModel(CLI::App* command, std::string* file) {
  command
      ->add_option("FILE", *file,
                   "container, .nwc, or a set of them: its .nwc.index.json, one of its shards or "
                   "their folder; a path, or a URL of http:// or https://")
      ->required();
}

// How a URL is read. A command that wants to see the server's bytes has no cache.
void AddRemote(CLI::App* command, RemoteOptions* remote, bool with_cache = true) {
  constexpr const char* kGroup = "Options for a URL";
  if (with_cache) {
    command
        ->add_option("--cache", remote->cache_folder,
                     "DIR: keep chunks there for the next time; else NWC_CACHE of the environment")
        ->group(kGroup);
    command->add_option("--cache-bytes", remote->cache_bytes, "most bytes the cache may have")
        ->check(CLI::PositiveNumber)
        ->capture_default_str()
        ->group(kGroup);
  }
  command
      ->add_option("--aws-sigv4", remote->aws_sigv4,
                   "sign requests, for instance aws:amz:eu-central-1:s3, with AWS_ACCESS_KEY_ID,\n"
                   "AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN of the environment")
      ->group(kGroup);
}

// How files are read; `load` lives as long as the command.
void AddIo(CLI::App* command, LoadOptions* load) {
  const auto set = [load](const std::string& name) { load->io = *ParseIoMode(name); };
  command->add_option_function<std::string>("--io", set, "how to read a file; auto: what suits it")
      ->check(CLI::IsMember({"auto", "uring", "direct", "pread", "mmap"}))
      ->default_str("auto");
  const auto print = [](const std::string& line) {
    std::fprintf(stderr, "%s\n", Printable(line).c_str());
  };
  command->add_flag_callback(
      "--verbose", [=] { load->log = print; }, "say how each container is read, and why");
}

void AddThreads(CLI::App* command, int* threads) {
  command
      ->add_option("--threads", *threads,
                   "decoding threads; 0: one a processor that this process may use")
      ->check(CLI::Range(0, kMaxThreads))
      ->capture_default_str();
}

void AddSelection(CLI::App* command, Selection* selection) {
  command
      ->add_option("--tensor", selection->regexes,
                   "REGEX: tensors whose name contains a match; may be repeated")
      ->allow_extra_args(false);
  command
      ->add_option("--layers", selection->layers,
                   "A-B or A: tensors whose first number between dots is A to B; may be repeated")
      ->allow_extra_args(false);
}

template <typename Arguments>
void AddJson(CLI::App* command, Arguments* arguments) {
  command->add_flag("--json", arguments->json, "a JSON report on standard output");
}

template <typename Arguments>
void AddQuiet(CLI::App* command, Arguments* arguments, const char* what) {
  command->add_flag("-q,--quiet", arguments->quiet, what);
}

void DeclareInspect(CLI::App* app, std::function<Status()>* run) {
  const auto a = std::make_shared<InspectArguments>();
  CLI::App* command =
      Add(app, "inspect", "show tensors, profiles, sizes and bits a weight", a, &Inspect, run);
  AddModel(command, &a->file);
  command->add_flag("--summary", a->summary, "totals only, without a line a tensor");
  auto* html = command->add_option("--html", a->html,
                                   "PAGE.html: write a page with drawings and a table, and print "
                                   "only what --summary or --json asks for");
  command->add_flag("--force", a->force, "replace an existing page")->needs(html);
  AddJson(command, a.get());
  AddRemote(command, &a->remote, false);
  command->footer(
      "Reads the index alone. 'bytes' of a tensor are its chunks, its side information and the\n"
      "24 bytes of each chunk in the index.");
}

void DeclareVerify(CLI::App* app, std::function<Status()>* run) {
  const auto a = std::make_shared<VerifyArguments>();
  CLI::App* command =
      Add(app, "verify", "check every hash, and with --deep every decoded tensor", a, &Verify, run);
  AddModel(command, &a->file);
  command->add_flag("--deep", a->deep, "decode every tensor and check its hash, too");
  command->add_option("--manifest", a->manifest,
                      "M.json: compare with what nwc manifest wrote, SHA-256 by SHA-256, too");
  AddIo(command, &a->load);
  AddThreads(command, &a->load.threads);
  AddJson(command, a.get());
  AddQuiet(command, a.get(), "no progress");
  AddRemote(command, &a->load.remote, false);
  command->footer(
      "Reads the whole file and goes on after an error: lists all that is damaged, with the "
      "number\n"
      "of the rule of spec/format.md that is broken. Exit code 1 when anything is.");
}

void DeclareManifest(CLI::App* app, std::function<Status()>* run) {
  const auto a = std::make_shared<ManifestArguments>();
  CLI::App* command = Add(app, "manifest", "write SHA-256 of every file and every decoded tensor",
                          a, &WriteManifest, run);
  AddFile(command, &a->file);
  command->add_option("-o,--output", a->output, "JSON file to write")->required();
  command->add_flag("--force", a->force, "replace an existing output");
  AddIo(command, &a->load);
  AddThreads(command, &a->load.threads);
  AddQuiet(command, a.get(), "no progress and no summary");
  AddRemote(command, &a->load.remote);
  command->footer(
      "'nwc verify --manifest M.json FILE' compares a container with it later. The same container\n"
      "gives the same manifest, wherever it is read.");
}

void DeclareUnpack(CLI::App* app, std::function<Status()>* run) {
  const auto a = std::make_shared<UnpackArguments>();
  CLI::App* command =
      Add(app, "unpack", "write the folder of the checkpoint that was packed", a, &Unpack, run);
  AddModel(command, &a->file);
  command->add_option("-o,--output", a->output, "folder to create")->required();
  const auto set_format = [a](const std::string& name) { a->gguf = name == "gguf"; };
  command
      ->add_option_function<std::string>("--format", set_format,
                                         "of the weights: safetensors, or gguf (not quantised)")
      ->check(CLI::IsMember({"safetensors", "gguf"}))
      ->default_str("safetensors");
  command->add_flag("--force", a->force,
                    "replace a folder that is not empty; all files in it go, one that holds "
                    "folders is left alone");
  AddIo(command, &a->load);
  AddThreads(command, &a->load.threads);
  AddJson(command, a.get());
  AddQuiet(command, a.get(), "no progress and no summary");
  AddRemote(command, &a->load.remote);
  command->footer(
      "Tensors of profile exact and raw come back byte for byte, and so do the other files. The\n"
      "folder appears whole or not at all. With --format gguf what was packed from GGUF gets its\n"
      "metadata back; other models keep their names of tensors, which llama.cpp does not know.");
}

void DeclareFetch(CLI::App* app, std::function<Status()>* run) {
  const auto a = std::make_shared<FetchArguments>();
  CLI::App* command =
      Add(app, "fetch", "copy a container, or write some tensors, reading only their bytes", a,
          &Fetch, run);
  AddModel(command, &a->file);
  AddSelection(command, &a->selection);
  command
      ->add_option("-o,--output", a->output,
                   "what to write: a .safetensors file of the tensors; without --tensor and\n"
                   "--layers a .nwc file, or for a set a folder")
      ->required();
  command->add_flag("--force", a->force, "replace an existing output file");
  AddIo(command, &a->load);
  AddJson(command, a.get());
  AddQuiet(command, a.get(), "no progress and no summary");
  AddRemote(command, &a->load.remote);
  command->footer(
      "A copy grows as OUTPUT.part and gets its name when all hashes match. After a failure the "
      "same\n"
      "command goes on with the part.\n"
      "Examples:\n"
      "  nwc fetch https://host/model.nwc -o model.nwc\n"
      "  nwc fetch model.nwc --layers 2 -o layer2.safetensors\n"
      "  nwc fetch model.nwc --layers 0-3 --tensor '^lm_head' -o part.safetensors");
}

void DeclareDiff(CLI::App* app, std::function<Status()>* run) {
  const auto a = std::make_shared<DiffArguments>();
  CLI::App* command =
      Add(app, "diff", "measure how far the tensors of two models are apart", a, &Diff, run);
  command
      ->add_option("A", a->a,
                   "the original: .nwc or its URL, a file of weights as for nwc-pack, or a folder")
      ->required();
  command->add_option("B", a->b, "what to compare with it: the same")->required();
  AddIo(command, &a->load);
  AddJson(command, a.get());
  AddQuiet(command, a.get(), "no progress");
  AddRemote(command, &a->load.remote);
  command->footer(
      "Relative MSE is squared error over squared norm of A. Exit code 1 when the two have not "
      "the\n"
      "same names, shapes and dtypes; other values are a measurement, not an error.");
}

void DeclareBenchLoad(CLI::App* bench, std::function<Status()>* run) {
  const auto a = std::make_shared<BenchLoadArguments>();
  CLI::App* command =
      Add(bench, "load", "time loading, from a cold disk, a hot one or a web server", a, &BenchLoad,
          run);
  AddModel(command, &a->file);
  command->add_flag(
      "--cold", a->cold,
      "drop the files from the page cache before each load; an error where they stay");
  command->add_option("--rounds", a->rounds, "loads of which the median counts")
      ->check(CLI::Range(1, kMaxRuns))
      ->capture_default_str();
  AddSelection(command, &a->selection);
  command->add_flag_callback(
      "--no-verify", [a] { a->load.verify = false; }, "do not check the chunks' hashes");
  command->add_flag("--verify-decoded", a->load.verify_decoded,
                    "check the hashes of decoded tensors, too");
  AddIo(command, &a->load);
  AddThreads(command, &a->load.threads);
  AddJson(command, a.get());
  AddQuiet(command, a.get(), "no progress");
  AddRemote(command, &a->load.remote);
  command->footer(
      "A load opens the model and ends when all tensors are in memory at once; with --tensor or\n"
      "--layers only those. Without --cold a file on disk is in the page cache before. Peak "
      "memory\n"
      "is that of the process, tensors and all.");
}

void DeclareBench(CLI::App* app, std::function<Status()>* run) {
  const auto a = std::make_shared<BenchArguments>();
  CLI::App* command = app->add_subcommand(
      "bench", "time hashing, decoding and loading on this machine; bench load: loading alone");
  DeclareBenchLoad(command, run);
  command->callback([=] {  // runs after that of a subcommand
    if (!command->get_subcommands().empty()) return;
    if (a->file.empty()) throw CLI::RequiredError("FILE");
    *run = [=] { return Bench(*a); };
  });
  AddFile(command, &a->file)->required(false);
  command
      ->add_option("--device", a->device,
                   "cuda or cuda:N: time reading, copying and decoding on that GPU")
      ->check([](const std::string& text) {
        const auto number = ParseCudaDevice(text);
        return number.ok() ? std::string() : number.status().message();
      });
  AddIo(command, &a->load);
  AddThreads(command, &a->load.threads);
  command->add_option("--runs", a->runs, "runs of which the median counts, after one that does not")
      ->check(CLI::Range(1, kMaxRuns))
      ->capture_default_str();
  AddJson(command, a.get());
  AddQuiet(command, a.get(), "no progress");
  AddRemote(command, &a->load.remote);
  command->footer(
      "Hashing and decoding run in memory, on at most 512 MiB of decoded tensors of each profile.\n"
      "A cold load comes after the file's pages were dropped from the page cache; where they stay\n"
      "there is no cold figure. 'nwc bench load --help' tells of load; a container of that name is "
      "./load.");
}

// CLI11 would say that a command is missing.
Status CheckCommand(const CLI::App& app, const std::vector<std::string>& command_line) {
  std::string names;
  for (const CLI::App* command : app.get_subcommands({})) {
    if (!command_line.empty() && command->check_name(command_line[0])) return {};
    names += (names.empty() ? "" : ", ") + command->get_name();
  }
  if (!command_line.empty() && command_line[0].starts_with("-")) return {};
  const std::string found =
      command_line.empty() ? "a command is missing" : "no command " + Quote(command_line[0]);
  return Usage(found + ", expected one of " + names + "; see nwc --help");
}

}  // namespace

Result<NwcCommand> ParseNwcArguments(const std::vector<std::string>& command_line) {
  NwcCommand parsed;
  CLI::App app("Looks into NWC containers, checks them and takes tensors out of them.", "nwc");
  app.require_subcommand(1);
  app.footer(kFooter);
  app.set_version_flag("--version", std::string("nwc ") + NWC_VERSION + " (container " +
                                        std::to_string(kMajor) + "." + std::to_string(kMinor) +
                                        ")");
  DeclareInspect(&app, &parsed.run);
  DeclareVerify(&app, &parsed.run);
  DeclareManifest(&app, &parsed.run);
  DeclareUnpack(&app, &parsed.run);
  DeclareFetch(&app, &parsed.run);
  DeclareDiff(&app, &parsed.run);
  DeclareBench(&app, &parsed.run);
  NWC_RETURN_IF_ERROR(CheckCommand(app, command_line));
  try {
    app.parse(std::vector<std::string>(command_line.rbegin(), command_line.rend()));
  } catch (const CLI::CallForHelp&) {
    return NwcCommand{{}, app.help()};
  } catch (const CLI::CallForVersion& e) {
    return NwcCommand{{}, std::string(e.what()) + "\n"};
  } catch (const CLI::Error& e) {
    return Usage(std::string(e.what()) + "; see nwc --help");
  }
  return parsed;
}

}  // namespace nwc
