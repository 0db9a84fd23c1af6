// SPDX-License-Identifier: Apache-2.0
// A user agent that keeps its dialogs by RFC 3261 section 12 and its sessions by RFC 3264. What the
// generator holds for true about a dialog is what such a user agent knows itself.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "tests/sip/generator/message.h"

namespace sipheal::testing::generator {

enum class Media { kSendRecv, kSendOnly, kRecvOnly, kInactive };

// A session description with one audio line.
struct Session {
  std::string user = "-";
  std::string id;
  std::uint64_t version = 1;
  std::string address;
  int port = 0;
  Media direction = Media::kSendRecv;
  bool zero_connection = false;  // RFC 2543's hold
  bool ipv6 = false;
  std::string more;  // lines of the medium

  std::string Text() const;
  // Its o= value, port and direction in one line, to compare by.
  std::string Key() const;
  bool AsksForHold() const {
    return zero_connection || direction == Media::kSendOnly || direction == Media::kInactive;
  }
};
std::string_view ToString(Media direction);

// The half of a dialog that one user agent keeps (RFC 3261 section 12).
struct Dialog {
  std::string call_id;
  Party local;
  Party remote;
  std::optional<std::uint32_t> local_seq;
  std::optional<std::uint32_t> remote_seq;
  std::vector<std::string> route_set;
  std::string target;

  // Request-URI and Route as RFC 3261 12.2.1.1 makes them.
  void Address(Message* request) const;
  // The next request in the dialog.
  Message Request(const std::string& method);
  Message Ack(std::uint32_t cseq) const;
};

// Its own description, and what it wants: the same for all its dialogs but the version.
struct UserAgent {
  std::string ip;
  int port = 5060;
  std::string scheme = "sip:";  // of its Contact
  std::string name;             // in its Contact instead of the address (RFC 7118 5); empty: none
  std::string host;             // the address as it is written, or a name for it; empty: as usual
  bool ipv6 = false;
  Party identity;
  std::string contact;
  Session session;  // the last that it wrote
  bool holds = false;
  bool holds_with_zero = false;  // the way of RFC 2543
  // What stands in for `;rport` in the Via of its requests as they are answered (RFC 3581); empty:
  // `;rport` itself.
  std::string seen_as;
  Style style;

  std::string address() const { return (ipv6 ? '[' + ip + ']' : ip) + ':' + std::to_string(port); }
  // As it writes itself into Via and Contact.
  std::string sent_by() const {
    return host.empty() ? address() : host + ':' + std::to_string(port);
  }
  // Its Contact shows where it is.
  bool gives_address() const { return name.empty() && (host.empty() || host.front() == '['); }
  // A Contact of its own; with "user@" or nothing.
  std::string ContactUri(const std::string& user) const {
    return scheme + user + (name.empty() ? sent_by() : name + ";transport=ws");
  }
  // A description of what it wants now: a new version when that has changed.
  Session Offer();
  Session Answer(const Session& offer);

 private:
  void Describe(Media direction);
};

// Has the parameter `lr` (RFC 3261 19.1.1); one that only begins so does not count.
bool IsLoose(const std::string& uri);
// Without what RFC 3261 19.1.1 forbids in a Request-URI.
std::string RequestUriOf(const std::string& target);

// The response of a user agent to a request as it received it; record_route is mirrored.
Message ResponseTo(const Message& request, int status, const std::string& to_tag);

}  // namespace sipheal::testing::generator
