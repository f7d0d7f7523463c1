#include "tools/progress.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <string_view>

#include "tools/display.h"

namespace nwc {
namespace {

using std::chrono::duration;

constexpr double kBarInterval = 0.1;   // seconds between redraws
constexpr double kLineInterval = 5;    // seconds between plain lines ...
constexpr double kLineFraction = 0.1;  // ... unless that much happened ...
constexpr double kLineShortest = 1;    // ... in this many
constexpr uint64_t kFewestBytes = 1'000'000;
constexpr size_t kBarCells = 24;
constexpr size_t kDefaultColumns = 80;

double Fraction(uint64_t done, uint64_t total) {
  return total == 0 ? 1 : std::min(1.0, static_cast<double>(done) / static_cast<double>(total));
}

bool OnTerminal() {
  const char* term = std::getenv("TERM");
  return isatty(STDERR_FILENO) == 1 && term != nullptr && std::string_view(term) != "dumb";
}

size_t TerminalColumns() {
  winsize size{};
  if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0) return kDefaultColumns;
  return size.ws_col;
}

// "45 %  1.23 GB/s  ETA 2:05".
std::string Numbers(const ProgressState& s) {
  const double fraction = Fraction(s.bytes_done, s.bytes_total);
  std::array<char, 96> text{};
  int used = std::snprintf(text.data(), text.size(), "%3d %%", static_cast<int>(100 * fraction));
  std::string result(text.data(), static_cast<size_t>(used));
  const bool moving = s.seconds > 0 && s.bytes_done > s.first_done;
  const double speed =  // bytes a second
      moving ? static_cast<double>(s.bytes_done - s.first_done) / s.seconds : 0;
  if (moving && s.bytes_total >= kFewestBytes) {
    used = std::snprintf(text.data(), text.size(), speed < 1e7 ? "  %.4f GB/s" : "  %.2f GB/s",
                         speed / 1e9);
    result.append(text.data(), static_cast<size_t>(used));
  }
  if (fraction >= 1) {
    result += "  " + FormatSeconds(s.seconds);
  } else if (moving) {
    result += "  ETA " + FormatSeconds(static_cast<double>(s.bytes_total - s.bytes_done) / speed);
  }
  return result;
}

// Printable, at most `cells` bytes, never half a UTF-8 character.
std::string Fit(const std::string& item, size_t cells) {
  std::string text = item;
  for (char& c : text) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) c = '?';
  }
  if (text.size() <= cells) return text;
  while (cells > 0 && (static_cast<unsigned char>(text[cells]) & 0xC0) == 0x80) --cells;
  return text.substr(0, cells);
}

}  // namespace

std::string FormatProgressLine(const ProgressState& state) {
  return state.stage + ": " + Numbers(state) + "  " + Fit(state.item, state.item.size());
}

std::string FormatProgressBar(const ProgressState& state, size_t columns) {
  const double fraction = Fraction(state.bytes_done, state.bytes_total);
  const auto full = static_cast<size_t>(fraction * kBarCells);
  std::string text = state.stage + " [" + std::string(full, '#') +
                     std::string(kBarCells - full, '-') + "] " + Numbers(state);
  if (text.size() + 2 < columns) text += "  " + Fit(state.item, columns - text.size() - 2);
  return Fit(text, columns);
}

Progress::Progress(bool quiet) : quiet_(quiet), terminal_(!quiet && OnTerminal()) {}

Progress::~Progress() { EndLine(); }

void Progress::EndLine() {
  if (line_open_) std::fputc('\n', stderr);
  line_open_ = false;
}

bool Progress::TimeToShow(Clock::time_point now, double fraction, bool last) const {
  if (last) return shown_fraction_ < 1;
  const double waited = duration<double>(now - shown_).count();
  if (terminal_) return waited >= kBarInterval;
  return waited >= kLineInterval ||
         (waited >= kLineShortest && fraction - shown_fraction_ >= kLineFraction);
}

void Progress::Update(const std::string& stage, const std::string& item, uint64_t bytes_done,
                      uint64_t bytes_total) {
  if (quiet_) return;
  const Clock::time_point now = Clock::now();
  if (stage != stage_ || bytes_total != total_) {
    EndLine();
    stage_ = stage;
    total_ = bytes_total;
    first_done_ = bytes_done;
    begun_ = now;
    shown_ = terminal_ ? Clock::time_point() : now;  // a bar shows at once
    shown_fraction_ = 0;
  }
  const double fraction = Fraction(bytes_done, bytes_total);
  if (!TimeToShow(now, fraction, bytes_done >= bytes_total)) return;
  const ProgressState state{
      stage, item, bytes_done, bytes_total, duration<double>(now - begun_).count(), first_done_};
  if (terminal_) {
    // Back to the first cell and clear what is right of the bar.
    std::fprintf(stderr, "\r%s\x1b[K", FormatProgressBar(state, TerminalColumns() - 1).c_str());
    line_open_ = true;
  } else {
    std::fprintf(stderr, "%s\n", FormatProgressLine(state).c_str());
  }
  std::fflush(stderr);
  shown_ = now;
  shown_fraction_ = fraction;
}

}  // namespace nwc
