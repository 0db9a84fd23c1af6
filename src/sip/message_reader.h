// SPDX-License-Identifier: Apache-2.0
// Reads a parsed message into the record that CallFacts merges. Here everything that will be used
// again is checked by grammar; a message that fails is no evidence at all.
#pragma once

#include <string>

#include "sip/call_facts.h"
#include "sip/server_match.h"
#include "sipheal/sip/captured_message.h"
#include "sipheal/sip/message_fields.h"
#include "sipheal/sip/message_view.h"

namespace sipheal::inline v0_1::sip {

// Methods that are evidence about INVITE dialogs, at least within one.
bool IsDialogMethod(Method method);

// Keeps its buffers between messages, so that reading allocates nothing once warm. The record's
// views are valid until the next Read.
class MessageReader {
 public:
  // `fields` are those of `view`. `record->sent` is left to the caller: a message may be both.
  ParseResult Read(const CapturedMessageView& message, const MessageView& view,
                   const MessageFields& fields, const Adjacency& adjacency, MessageRecord* record);

 private:
  bool KeepParty(const AddressField& field, std::string_view tag, std::string_view value,
                 std::string* text, std::string_view* kept);
  bool WriteParty(const AddressField& field, std::string_view tag, std::string_view value,
                  std::string* text, std::string_view* kept);
  std::uint16_t AllowOf(std::string_view list);
  std::string_view KeepSupported(const MessageView& view);
  static std::string_view KeepRoutes(const RouteList& routes, std::string* text);

  RouteList routes_;
  std::string unfolded_;
  std::string params_;
  std::string from_;
  std::string to_;
  std::string record_route_;
  std::string route_;
  std::string sdp_;  // what is behind the present one is room
  std::string notes_;
  std::string allow_text_;  // the Allow that was read last, and what it lists
  std::uint16_t allow_ = 0;
  std::string supported_;
};

}  // namespace sipheal::inline v0_1::sip
