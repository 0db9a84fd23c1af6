// SPDX-License-Identifier: Apache-2.0
#include "tests/sip/generator/user_agent.h"

namespace sipheal::testing::generator {
namespace {

// Parameters and headers of a URI begin behind the host.
std::size_t EndOfHost(const std::string& uri) {
  const std::size_t at = uri.find('@');
  return uri.find_first_of(";?", at == std::string::npos ? 0 : at);
}

}  // namespace

bool IsLoose(const std::string& uri) {
  const std::size_t lr = uri.find(";lr");
  if (lr == std::string::npos) return false;
  return lr + 3 == uri.size() || uri[lr + 3] == '=' || uri[lr + 3] == ';';
}

// RFC 3261 19.1.1, table 1: no `method` and no headers in a Request-URI.
std::string RequestUriOf(const std::string& uri) {
  std::string text = uri.substr(0, uri.find('?'));
  const std::size_t method = text.find(";method=");
  if (method != std::string::npos && method >= EndOfHost(uri)) {
    const std::size_t end = text.find(';', method + 1);
    text.erase(method, end == std::string::npos ? std::string::npos : end - method);
  }
  return text;
}

std::string_view ToString(Media direction) {
  switch (direction) {
    case Media::kSendOnly:
      return "sendonly";
    case Media::kRecvOnly:
      return "recvonly";
    case Media::kInactive:
      return "inactive";
    default:
      return "sendrecv";
  }
}

std::string Session::Text() const {
  const std::string family = ipv6 ? "IN IP6 " : "IN IP4 ";
  return "v=0\r\no=" + user + ' ' + id + ' ' + std::to_string(version) + ' ' + family + address +
         "\r\ns=-\r\nc=" + (zero_connection ? "IN IP4 0.0.0.0" : family + address) +
         "\r\nt=0 0\r\nm=audio " + std::to_string(port) +
         " RTP/AVP 0 101\r\na=rtpmap:101 telephone-event/8000\r\n" +
         (direction == Media::kSendRecv ? "" : "a=" + std::string(ToString(direction)) + "\r\n") +
         more;
}

std::string Session::Key() const {
  return user + ' ' + id + ' ' + std::to_string(version) + (ipv6 ? " IN IP6 " : " IN IP4 ") +
         address + " port " + std::to_string(port) + ' ' + std::string(ToString(direction));
}

void Dialog::Address(Message* request) const {
  request->route.clear();
  if (route_set.empty()) {
    request->uri = RequestUriOf(target);
  } else if (IsLoose(route_set.front())) {
    request->uri = RequestUriOf(target);
    request->route = route_set;
  } else {
    request->uri = RequestUriOf(route_set.front());
    request->route.assign(route_set.begin() + 1, route_set.end());
    // Nor may a Route have what a Request-URI may not (RFC 3261 19.1.1, table 1).
    request->route.push_back(RequestUriOf(target));
  }
}

Message Dialog::Request(const std::string& method) {
  local_seq = local_seq.value_or(0) + 1;
  Message request = Ack(*local_seq);
  request.method = method;
  return request;
}

Message Dialog::Ack(std::uint32_t cseq) const {
  Message request;
  request.method = "ACK";
  request.cseq = cseq;
  request.call_id = call_id;
  request.from = local;
  request.to = remote;
  Address(&request);
  return request;
}

void UserAgent::Describe(Media direction) {
  if (direction == session.direction && !session.zero_connection) return;
  session.direction = direction;
  session.zero_connection = false;
  ++session.version;
}

Session UserAgent::Offer() {
  if (holds && holds_with_zero) {
    if (session.zero_connection) return session;
    Describe(Media::kSendRecv);
    session.zero_connection = true;
    ++session.version;
    return session;
  }
  Describe(holds ? Media::kSendOnly : Media::kSendRecv);
  return session;
}

Session UserAgent::Answer(const Session& offer) {
  switch (offer.direction) {
    case Media::kSendOnly:
      Describe(holds ? Media::kInactive : Media::kRecvOnly);
      break;
    case Media::kInactive:
      Describe(Media::kInactive);
      break;
    case Media::kRecvOnly:
      Describe(Media::kSendOnly);
      break;
    default:
      Describe(holds ? Media::kSendOnly : Media::kSendRecv);
  }
  return session;
}

Message ResponseTo(const Message& request, int status, const std::string& to_tag) {
  Message response;
  response.request = false;
  response.method = request.method;
  response.cseq = request.cseq;
  response.status = status;
  response.via = request.via;
  response.from = request.from;
  response.to = request.to;
  if (response.to.tag.empty()) response.to.tag = to_tag;
  response.call_id = request.call_id;
  if (status > 100 && status < 300) response.record_route = request.record_route;
  return response;
}

}  // namespace sipheal::testing::generator
