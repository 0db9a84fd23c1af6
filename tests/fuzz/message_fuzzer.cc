// SPDX-License-Identifier: Apache-2.0
// Any bytes as a SIP message: no crash, views inside of the input, and a second parse of what was taken gives
// the same.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "sipheal/sip/message_view.h"
#include "sipheal/sip/stream_framer.h"
#include "sipheal/sip/uri.h"

namespace {

void Require(bool condition) {
  if (!condition) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace sipheal::sip;  // NOLINT: a fuzz target is one function
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  MessageView view;
  const ParseResult result = view.Parse(bytes);
  Require(result.offset <= size);
  if (result.ok()) {
    const auto inside = [&](std::string_view part) {
      return part.empty() || (part.data() >= bytes.data() &&
                              part.data() + part.size() <= bytes.data() + bytes.size());
    };
    Require(view.size() <= size && inside(view.body()) && inside(view.call_id()));
    for (int id = 0; id < kHeaderIdCount; ++id) {
      view.ForEach(static_cast<HeaderId>(id), [&](std::string_view value) {
        Require(inside(value));
        std::string_view list = value;
        NameAddrView entry;
        while (NextNameAddr(&list, &entry) == ListStep::kValue) Require(inside(entry.uri));
        list = value;
        ViaView via;
        while (NextVia(&list, &via) == ListStep::kValue) Require(inside(via.host));
      });
    }
    MessageView again;
    Require(again.Parse(view.bytes()).ok() || view.body_truncated());
    Require(again.call_id() == view.call_id() && again.cseq() == view.cseq());
  }
  for (std::string_view part : SplitStreamBuffer(bytes)) Require(!part.empty() && part.size() <= size);
  return 0;
}
