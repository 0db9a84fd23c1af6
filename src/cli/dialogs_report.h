// SPDX-License-Identifier: Apache-2.0
// The dialogs that `sipheal dialogs` found, and the forms in which it shows them.
#pragma once

#include <iosfwd>
#include <string>
#include <string_view>
#include <vector>

#include "sipheal/sip/captured_message.h"
#include "sipheal/sip/dialog_state.h"
#include "sipheal/sip/explain.h"
#include "sipheal/sip/server_identity.h"
#include "sipheal/sip/verdict.h"

namespace sipheal::inline v0_1::cli {

// One dialog to be shown, with the messages of its Call-ID.
struct DialogReport {
  sip::DialogState dialog;
  sip::Verdict verdict;
  // Of the whole Call-ID, forks and far legs included.
  std::vector<sip::LadderRung> rungs;
};

// A diagram for Mermaid (https://mermaid.js.org), one for all dialogs: each with its verdict, its
// messages, and what proves each field. Nothing captured can end a statement of it.
class MermaidWriter {
 public:
  explicit MermaidWriter(std::ostream& out);
  void Add(const DialogReport& report);
  void Finish();

 private:
  // The diagram's name of a participant; more than a page holds become one, "others".
  std::string Participant(const std::string& who);

  std::ostream& out_;
  std::vector<std::string> participants_;
  bool empty_ = true;
};

// An SVG document with one ladder below the other; it needs nothing but itself. Nothing captured
// can become markup.
std::string DialogsSvg(const std::vector<DialogReport>& reports);

}  // namespace sipheal::inline v0_1::cli
