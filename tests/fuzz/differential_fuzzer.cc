// SPDX-License-Identifier: Apache-2.0
// What the library takes, a slow and plain parser reads in the same way.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>

#include "reference_parser.h"
#include "sipheal/sip/message_view.h"

namespace {

using sipheal::sip::HeaderId;

void Require(bool condition, const char* what) {
  if (condition) return;
  std::fprintf(stderr, "the two parsers differ: %s\n", what);
  std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace sipheal::testing;  // NOLINT: a fuzz target is one function
  const std::string bytes(reinterpret_cast<const char*>(data), size);
  sipheal::sip::MessageView view;
  if (!view.Parse(std::string_view(bytes)).ok()) return 0;
  const ReferenceMessage reference = ReferenceParse(bytes);
  Require(reference.complete, "the message is not complete");
  const std::string start = view.is_request() ? std::string(view.method_text()) + ' ' +
                                                    std::string(view.request_uri())
                                              : "SIP/2.0 " + std::to_string(view.status());
  // The version may be in any case.
  Require(reference.start_line.size() >= start.size(), "start line");
  const std::size_t same_from = view.is_request() ? 0 : 8;
  Require(reference.start_line.substr(same_from, start.size() - same_from) ==
              start.substr(same_from),
          "start line");

  const struct {
    HeaderId id;
    const char* name;
  } rows[] = {{HeaderId::kVia, "via"},
              {HeaderId::kFrom, "from"},
              {HeaderId::kTo, "to"},
              {HeaderId::kCallId, "call-id"},
              {HeaderId::kCseq, "cseq"},
              {HeaderId::kContact, "contact"},
              {HeaderId::kRoute, "route"},
              {HeaderId::kRecordRoute, "record-route"},
              {HeaderId::kSessionExpires, "session-expires"}};
  for (const auto& row : rows) {
    const std::vector<std::string> expected = reference.Values(row.name);
    std::size_t count = 0;
    view.ForEach(row.id, [&](std::string_view value) {
      Require(count < expected.size(), "more rows");
      Require(ReferenceUnfold(std::string(value)) == expected[count], row.name);
      ++count;
    });
    Require(count == expected.size(), row.name);
  }
  const std::string cseq = reference.Values("cseq").front();
  Require(std::strtoull(cseq.c_str(), nullptr, 10) == view.cseq(), "the number of CSeq");
  Require(reference.Values("call-id").front() == view.call_id(), "Call-ID");
  const std::string_view body = view.body();
  Require(view.body_truncated() || reference.body.substr(0, body.size()) == body, "body");
  if (const auto lengths = reference.Values("content-length");
      !lengths.empty() && !view.body_truncated()) {
    Require(std::strtoull(lengths.front().c_str(), nullptr, 10) == body.size(), "Content-Length");
  }
  return 0;
}
