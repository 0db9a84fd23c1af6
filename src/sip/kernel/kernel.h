// SPDX-License-Identifier: Apache-2.0
// Parsing is written once (impl.inc) and compiled for several instruction sets; the best one that
// the processor has is taken at run time. All of them give the same result on the same bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "sipheal/sip/dialog_state.h"
#include "sipheal/sip/message_fields.h"
#include "sipheal/sip/message_view.h"

namespace sipheal::inline v0_1::sip {
struct ReinviteParams;
class ReinviteWriter;
struct WireTarget;
}  // namespace sipheal::inline v0_1::sip

namespace sipheal::inline v0_1::sip::kernel {

// What an INVITE tells of the successor, written as it is.
struct Successor {
  std::string_view via;           // behind the Request-URI, up to the branch
  std::string_view contact;       // behind the CSeq's number, up to the user
  std::string_view user;          // of the Contact; empty: none, or part of `contact`
  std::string_view contact_rest;  // behind the user
  std::string_view branch;
  std::string_view sdp;  // empty: none
  std::uint32_t cseq;
};

// What an INVITE in a dialog was written of, and where that stands in its text. 64 bytes more than
// the text may be read.
struct WrittenRequest {
  const DialogState* dialog;
  std::string_view request_uri;
  std::string_view branch;
  const char* first_route;
  std::span<const std::string> routes;  // that follow each other, `between_routes` bytes apart
  std::size_t between_routes;
  std::string_view from;
  std::string_view to;
  std::string_view call_id;
};

struct Kernel {
  const char* name;
  ParseResult (*parse)(std::string_view bytes, kernel::ParsedMessage* out);
  ParseResult (*read_fields)(const MessageView& view, MessageFields* out);
  ParseResult (*read_routes)(const MessageView& view, HeaderId id, RouteList* out);
  // Writes the INVITE to `memory` and returns its size: up to 64 bytes behind it may be written,
  // too. Without a target it goes where nearly all go: to the remote target as it is, by the route
  // set as it is. Nothing is checked.
  std::size_t (*write_invite)(const DialogState& dialog, const WireTarget* target,
                              const Successor& successor, char* memory, WrittenRequest* written);
  // Of what was written without a target: true when the branch is one, and all that the dialog gave
  // is known, safe, and reads back as what it is, the target may stand as it is in a Request-URI,
  // and the first route, if any, is a loose router. False: it must be looked at closer.
  bool (*reads_back)(const WrittenRequest& written);

  // As MessageView::Parse, which takes the best kernel.
  ParseResult ParseInto(std::string_view bytes, MessageView* view,
                        const ParseLimits& limits = {}) const;
  // As ReinviteWriter::Write, which takes the best kernel.
  absl::StatusOr<std::string_view> WriteReinvite(const DialogState& dialog,
                                                 const ReinviteParams& params,
                                                 ReinviteWriter* writer) const;
};

// Those that run on this processor, the best first.
std::span<const Kernel* const> RunnableKernels();
inline const Kernel& BestKernel() {
  static const Kernel& best = *RunnableKernels().front();
  return best;
}

extern const Kernel kPlain;
#if defined(__x86_64__)
extern const Kernel kSse2;
extern const Kernel kAvx2;
#endif

// --- what the kernels leave to code that need not be fast --------------------------------------

inline ParseResult Fail(ParseError error, std::size_t offset) {
  return {error, static_cast<std::uint32_t>(offset)};
}

// While lines are added to a table: its last row, and the row that a continuation extends.
struct LineState {
  static constexpr std::uint32_t kStartLine = 0xffffffffu;
  std::uint32_t row = kernel::HeaderTable::kFirstRow - 1;
  std::uint32_t open = kStartLine;  // 0: of a field that is not read
};

enum class OddLine : std::uint8_t { kAdded, kEndOfHeaders, kContinuesStartLine };
// A header line [begin, end) that has no plain name: a continuation, the empty line, white space
// before the colon, a long name, no colon; or so near to the end of the bytes that no vector fits.
OddLine AddOddLine(std::string_view bytes, std::uint32_t begin, std::uint32_t end,
                   kernel::HeaderTable* table, LineState* state);
// Two rows of a field that may stand once. Content-Length may stand twice when it says the same.
ParseResult CheckDuplicates(const kernel::ParsedMessage& parsed);
ParseResult TooManyRows(const kernel::HeaderTable& table);
// No white space, no control character.
bool IsPrintable(std::string_view text);

ParseResult ParseStartLineSlowly(std::string_view line, kernel::ParsedMessage* out);
// `value` is the trimmed value of CSeq; `offset` is where it stands.
ParseResult ParseCseqSlowly(std::string_view value, std::size_t offset, kernel::ParsedMessage* out);

// One From or To; `offset` is where the value stands.
ParseResult ReadPartySlowly(std::string_view value, std::size_t offset, AddressField* out,
                            std::string_view* tag);
// The first value of a Contact list; all of the list is checked.
ParseResult ReadContactSlowly(std::string_view value, std::size_t offset, MessageFields* out);
// Takes one URI off the front of a list. kValue: `uri` is read and `rest` is behind the separator.
ListStep NextRouteSlowly(std::string_view* rest, UriView* uri);
void ReadSessionExpiresSlowly(std::string_view value, MessageFields* out);

}  // namespace sipheal::inline v0_1::sip::kernel
