// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

#include "absl/strings/str_format.h"
#include "base/utf8.h"
#include "cli/dialogs_report.h"
#include "sip/printable.h"

namespace sipheal::inline v0_1::cli {
namespace {

constexpr int kMargin = 20;
constexpr int kClockWidth = 190;  // time and frame, at the left
constexpr int kLaneWidth = 320;   // between two life lines
constexpr int kRow = 26;          // from one message to the next
constexpr int kTextRow = 15;
constexpr std::size_t kMaxLine = 130;  // characters of a line of text
constexpr std::size_t kMaxLanes = 8;   // the last is the server's

constexpr std::string_view kStyle =
    "text{font:12px ui-monospace,Menlo,Consolas,monospace;fill:#1f2328}"
    ".t{font-weight:bold;font-size:14px}.c{fill:#59636e}.m{text-anchor:middle}"
    ".l{stroke:#d1d9e0}.a{stroke:#0969da;fill:none}.o{stroke:#818b98;stroke-dasharray:4 "
    "3;fill:none}"
    ".ok{fill:#1a7f37}.no{fill:#cf222e}";

// Text as XML 1.0 may hold it; what it cannot hold is shown as \xNN.
std::string Escape(std::string_view text) {
  std::string out;
  for (const char c : sip::Printable(text)) {
    switch (c) {
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '&':
        out += "&amp;";
        break;
      case '"':
        out += "&quot;";
        break;
      case '\'':
        out += "&#39;";
        break;
      default:
        out += c;
    }
  }
  return out;
}

std::vector<std::string> Lines(std::string_view text) {
  std::vector<std::string> lines;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    bool first = true;
    do {
      std::size_t size = std::min(line.size(), first ? kMaxLine : kMaxLine - 18);
      // Not within a character.
      while (size < line.size() && (static_cast<unsigned char>(line[size]) >> 6) == 2) ++size;
      lines.push_back((first ? "" : std::string(18, ' ')) + std::string(line.substr(0, size)));
      line.remove_prefix(size);
      first = false;
    } while (!line.empty());
  }
  return lines;
}

class Drawing {
 public:
  void Add(const DialogReport& report) {
    y_ += 30;
    Text(kMargin, "t", "Call-ID " + report.dialog.call_id);
    y_ += 20;
    Text(kMargin, report.verdict.recoverable() ? "ok" : "no",
         absl::StrFormat("%s: %s", std::string(sip::ToString(report.verdict.token)),
                         report.verdict.reasons.empty()
                             ? "identity, route, target and CSeq are proved"
                             : report.verdict.reasons.front()));
    y_ += 28;
    Ladder(report.rungs);
    for (const std::string& line : Lines(sip::Explain(report.dialog, report.verdict))) {
      Text(kMargin, "c", line);
      y_ += kTextRow;
    }
  }

  void AddText(std::string_view text) {
    y_ += 30;
    Text(kMargin, "t", text);
  }

  std::string Document() const {
    const int height = y_ + kMargin;
    return absl::StrFormat(
               "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" viewBox=\"0 0 "
               "%d %d\" xml:space=\"preserve\">\n<style>%s</style>\n<defs><marker id=\"h\" "
               "markerWidth=\"9\" markerHeight=\"8\" refX=\"8\" refY=\"4\" orient=\"auto\"><path "
               "d=\"M0 0L9 4L0 8z\" fill=\"#0969da\"/></marker></defs>\n"
               "<rect width=\"100%%\" height=\"100%%\" fill=\"#ffffff\"/>\n",
               width_, height, width_, height, std::string(kStyle)) +
           body_ + "</svg>\n";
  }

 private:
  void Text(int x, std::string_view kind, std::string_view text) {
    const std::string shown = Escape(text);
    body_ += absl::StrFormat("<text class=\"%s\" x=\"%d\" y=\"%d\">%s</text>\n", std::string(kind),
                             x, y_, shown);
    width_ = std::max(width_, x + kMargin + static_cast<int>(text.size()) * 8);
  }

  static int LaneX(std::size_t lane) {
    return kMargin + kClockWidth + static_cast<int>(lane) * kLaneWidth;
  }

  void Ladder(const std::vector<sip::LadderRung>& rungs) {
    // The server's lane is the last; the others come in the order of their first message.
    std::vector<std::string> lanes;
    const auto lane_of = [&](const sip::Endpoint& endpoint) {
      const std::string name = endpoint.ToString();
      const auto found = std::find(lanes.begin(), lanes.end(), name);
      if (found != lanes.end()) return static_cast<std::size_t>(found - lanes.begin());
      if (lanes.size() < kMaxLanes - 1) lanes.push_back(name);
      return lanes.size() - 1;
    };
    for (const sip::LadderRung& rung : rungs) {
      if (!rung.sent) lane_of(rung.source);
      if (!rung.received) lane_of(rung.destination);
    }
    if (lanes.empty()) lanes.push_back("peer");
    const std::size_t server = lanes.size();
    const int top = y_;
    for (std::size_t lane = 0; lane < lanes.size(); ++lane)
      Text(LaneX(lane) - 40, "c", lanes[lane]);
    Text(LaneX(server) - 40, "c", "server");
    y_ += 12;
    for (const sip::LadderRung& rung : rungs) {
      y_ += kRow;
      Text(kMargin, "c",
           rung.sequence == 0 ? sip::Clock(rung.time)
                              : absl::StrFormat("%s #%d", sip::Clock(rung.time), rung.sequence));
      Arrow(rung.sent ? server : lane_of(rung.source),
            rung.received ? server : lane_of(rung.destination), rung);
    }
    y_ += kRow;
    for (std::size_t lane = 0; lane <= server; ++lane) {
      body_ += absl::StrFormat("<line class=\"l\" x1=\"%d\" y1=\"%d\" x2=\"%d\" y2=\"%d\"/>\n",
                               LaneX(lane), top + 8, LaneX(lane), y_ - 8);
    }
    width_ = std::max(width_, LaneX(server) + 60 + kMargin);
    y_ += 10;
  }

  void Arrow(std::size_t from, std::size_t to, const sip::LadderRung& rung) {
    const std::string_view kind = rung.sent || rung.received ? "a" : "o";
    const int middle = from == to ? LaneX(from) : (LaneX(from) + LaneX(to)) / 2;
    body_ += absl::StrFormat("<text class=\"m\" x=\"%d\" y=\"%d\">%s</text>\n", middle, y_ - 5,
                             Escape(rung.label));
    if (from == to) {  // a message to itself
      body_ +=
          absl::StrFormat("<path class=\"%s\" marker-end=\"url(#h)\" d=\"M%d %dh30v8h-30\"/>\n",
                          std::string(kind), LaneX(from), y_);
      return;
    }
    body_ += absl::StrFormat(
        "<line class=\"%s\" marker-end=\"url(#h)\" x1=\"%d\" y1=\"%d\" x2=\"%d\" y2=\"%d\"/>\n",
        std::string(kind), LaneX(from), y_, LaneX(to), y_);
  }

  std::string body_;
  int y_ = 0;
  int width_ = 600;
};

}  // namespace

std::string DialogsSvg(const std::vector<DialogReport>& reports) {
  Drawing drawing;
  for (const DialogReport& report : reports) drawing.Add(report);
  if (reports.empty()) drawing.AddText("no dialogs of this server");
  return drawing.Document();
}

}  // namespace sipheal::inline v0_1::cli
