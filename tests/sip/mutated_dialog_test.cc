// SPDX-License-Identifier: Apache-2.0
// Random dialogs (generator/) into which somebody put altered copies of their own messages: mostly
// two versions of one message, which are of one transaction and do not agree. What is rebuilt of
// them need not be true, but it is the same in any order, and folded one by one as at once.
//
//   SIPHEAL_LONG=1           fifty times as many
//   SIPHEAL_MUTATION_SEEDS=N-M  those of these seeds
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <string>
#include <vector>

#include "sipheal/sip/dialog_folder.h"
#include "sipheal/sip/explain.h"
#include "sipheal/sip/verdict.h"
#include "tests/sip/generator/call.h"

namespace sipheal::testing {
namespace {

using generator::Dice;
using Messages = std::vector<sip::CapturedMessage>;

std::vector<std::string> LinesOf(const std::string& text) {
  std::vector<std::string> lines;
  std::size_t begin = 0;
  while (begin < text.size()) {
    const std::size_t end = text.find('\n', begin);
    const std::size_t stop = end == text.npos ? text.size() : end + 1;
    lines.push_back(text.substr(begin, stop - begin));
    begin = stop;
  }
  return lines;
}

std::string Join(const std::vector<std::string>& lines) {
  std::string text;
  for (const std::string& line : lines) text += line;
  return text;
}

std::size_t LineAt(const std::vector<std::string>& lines, Dice& dice) {
  return dice.Below(static_cast<std::uint32_t>(lines.size()));
}

// A line of `text`, of which most are header fields, becomes something else.
void AlterText(const Messages& others, Dice& dice, std::string* text) {
  std::vector<std::string> lines = LinesOf(*text);
  if (lines.size() < 3) return;
  std::string& line = lines[LineAt(lines, dice)];
  const std::size_t at = dice.Below(static_cast<std::uint32_t>(line.size()));
  char& c = line[at];
  switch (dice.Below(8)) {
    case 0:  // letter case
      c = static_cast<char>(c >= 'a' && c <= 'z' ? c - 32 : c >= 'A' && c <= 'Z' ? c + 32 : c);
      break;
    case 1:
      if (c >= '0' && c <= '9') c = static_cast<char>('0' + dice.Below(10));
      break;
    case 2:
      if (c > ' ') c = "azAZ09;,<>\"=:@"[dice.Below(14)];
      break;
    case 3:  // a header field less
      lines.erase(lines.begin() + 1 + dice.Below(static_cast<std::uint32_t>(lines.size() - 1)));
      break;
    case 4:  // twice
      lines.insert(lines.begin() + 1, lines[LineAt(lines, dice)]);
      break;
    case 5:  // two change places
      std::swap(lines[LineAt(lines, dice)], lines[LineAt(lines, dice)]);
      break;
    default: {  // that of another message under the same name
      const std::vector<std::string> other =
          LinesOf(others[dice.Below(static_cast<std::uint32_t>(others.size()))].bytes);
      const std::string name = line.substr(0, line.find_first_of(":= "));
      const auto found = std::find_if(other.begin(), other.end(), [&](const std::string& one) {
        return one.compare(0, name.size(), name) == 0;
      });
      if (found != other.end()) line = *found;
      break;
    }
  }
  *text = Join(lines);
}

Messages WithAlteredCopies(const Messages& messages, Dice& dice) {
  Messages all = messages;
  for (std::uint32_t left = dice.Chance(10) ? dice.Range(7, 30) : dice.Range(1, 6); left > 0;
       --left) {
    sip::CapturedMessage copy = all[dice.Below(static_cast<std::uint32_t>(all.size()))];
    for (std::uint32_t changes = dice.Range(1, 3); changes > 0; --changes) {
      AlterText(messages, dice, &copy.bytes);
    }
    const sip::CapturedMessage& other =
        messages[dice.Below(static_cast<std::uint32_t>(messages.size()))];
    switch (dice.Below(8)) {
      case 0:
        std::swap(copy.source, copy.destination);
        break;
      case 1:
        copy.source = other.source;
        break;
      case 2:
        copy.destination = other.destination;
        break;
      case 3:
        copy.transport = other.transport;
        break;
      default:
        break;
    }
    switch (dice.Below(4)) {
      case 0:
        copy.time = other.time;
        break;
      case 1:
        copy.time -= std::chrono::microseconds(dice.Below(2'000'000));
        break;
      case 2:
        copy.time += std::chrono::microseconds(dice.Below(2'000'000));
        break;
      default:  // of one moment
        break;
    }
    copy.sequence = all.size() + 1;
    all.push_back(std::move(copy));
  }
  return all;
}

// The dialogs of one call, as a folder holds them that was given its messages one by one.
std::vector<sip::DialogState> Folded(const Messages& messages, const sip::ServerIdentity& server,
                                     const std::string& call_id) {
  sip::DialogFolder folder(server);
  for (const sip::CapturedMessage& message : messages) folder.Fold(message);
  return folder.Snapshot(call_id);
}

std::string Told(const std::vector<sip::DialogState>& dialogs) {
  std::string text;
  for (const sip::DialogState& dialog : dialogs) text += sip::Explain(dialog, sip::Judge(dialog));
  return text;
}

// Leaves out what is not needed for two orders to differ.
void Reduce(Messages* messages, const sip::ServerIdentity& server, Dice dice) {
  const auto differ = [&](Messages some) {
    const auto expected = sip::Rebuild(some, server);
    std::reverse(some.begin(), some.end());
    if (sip::Rebuild(some, server) != expected) return true;
    for (int i = 0; i < 8; ++i) {
      dice.Shuffle(some);
      if (sip::Rebuild(some, server) != expected) return true;
    }
    return false;
  };
  for (std::size_t i = 0; i < messages->size();) {
    Messages fewer = *messages;
    fewer.erase(fewer.begin() + static_cast<std::ptrdiff_t>(i));
    if (differ(fewer)) {
      *messages = std::move(fewer);
    } else {
      ++i;
    }
  }
}

std::string Report(Messages messages, const sip::ServerIdentity& server, Dice& dice) {
  Reduce(&messages, server, dice);
  std::string text;
  for (const sip::CapturedMessage& message : messages) {
    text += "--- " + std::to_string(message.sequence) + " at " +
            std::to_string(message.time.time_since_epoch().count()) + ' ' +
            message.source.ToString() + " > " + message.destination.ToString() + '\n' +
            message.bytes + '\n';
  }
  text += "=== one order\n" + Told(sip::Rebuild(messages, server));
  const auto expected = sip::Rebuild(messages, server);
  for (int i = 0; i < 20 && sip::Rebuild(messages, server) == expected; ++i) {
    dice.Shuffle(messages);
  }
  return text + "=== another\n" + Told(sip::Rebuild(messages, server));
}

TEST(MutatedDialogs, Rule11_8_VersionsOfOneMessageInAnyOrderAreOneState) {
  const char* const longer = std::getenv("SIPHEAL_LONG");
  std::uint64_t first = 1;
  std::uint64_t last = longer != nullptr && std::string(longer) == "1" ? 500'000 : 10'000;
#if defined(__SANITIZE_ADDRESS__)
  last /= 20;
#endif
  if (const char* seeds = std::getenv("SIPHEAL_MUTATION_SEEDS"); seeds != nullptr) {
    const std::string text(seeds);
    first = std::stoull(text);
    last = std::stoull(text.substr(text.find('-') + 1));
  }
  int failures = 0;
  for (std::uint64_t seed = first; seed <= last && failures < 3; ++seed) {
    const generator::GeneratedCall call = generator::Generate(seed);
    if (call.flooded || call.copies.empty())
      continue;  // what is kept of a flood depends on what came first
    Dice dice(seed ^ 0x6d757461);
    const Messages unaltered = call.Messages();
    const Messages messages = WithAlteredCopies(unaltered, dice);
    const auto expected = sip::Rebuild(messages, call.server);
    Messages other = messages;
    std::reverse(other.begin(), other.end());
    bool same = sip::Rebuild(other, call.server) == expected;
    dice.Shuffle(other);
    same = same && sip::Rebuild(other, call.server) == expected;
    if (!same) {
      ++failures;
      ADD_FAILURE() << "seed " << seed << '\n' << Report(messages, call.server, dice);
      continue;
    }
    // What begins with an answer to an OPTIONS or the like starts nothing in a folder.
    const auto invite = std::find_if(other.begin(), other.end(), [&](const auto& message) {
      return message.bytes.starts_with("INVITE ") && message.sequence <= unaltered.size();
    });
    if (invite == other.end()) continue;
    std::iter_swap(other.begin(), invite);
    std::vector<sip::DialogState> of_call;
    std::copy_if(expected.begin(), expected.end(), std::back_inserter(of_call),
                 [&](const auto& dialog) { return dialog.call_id == call.call_id; });
    const auto folded = Folded(other, call.server, call.call_id);
    if (folded == of_call) continue;
    ++failures;
    ADD_FAILURE() << "seed " << seed << "\n=== at once\n"
                  << Told(of_call) << "=== folded one by one\n"
                  << Told(folded);
  }
}

}  // namespace
}  // namespace sipheal::testing
