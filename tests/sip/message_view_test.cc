// SPDX-License-Identifier: Apache-2.0
// Rules 10.x: parsing, with the torture messages of RFC 4475 and RFC 5118 by their manifest.
#include "sipheal/sip/message_view.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cctype>
#include <map>
#include <set>

#include "sipheal/sip/sdp.h"
#include "sipheal/sip/stream_framer.h"
#include "sipheal/sip/uri.h"
#include "tests/sip/call_script.h"
#include "tests/sip/reference_parser.h"
#include "tests/sip/test_data.h"

namespace sipheal::testing {
namespace {

using sip::HeaderId;
using sip::ListStep;
using sip::MessageView;
using sip::NameAddrView;
using sip::ParseError;
using sip::UriView;
using sip::ViaView;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

std::string Message(const std::string& headers, const std::string& body = "") {
  return "INVITE sip:b@h SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bKx\r\nFrom: "
         "<sip:a@h>;tag=a\r\nTo: "
         "<sip:b@h>\r\nCall-ID: c\r\nCSeq: 1 INVITE\r\n" +
         headers + "\r\n" + body;
}

std::vector<std::string> Values(const MessageView& view, HeaderId id) {
  std::vector<std::string> uris;
  view.ForEach(id, [&](std::string_view value) {
    NameAddrView entry;
    while (NextNameAddr(&value, &entry) == ListStep::kValue) uris.emplace_back(entry.uri);
  });
  return uris;
}

TEST(MessageView, Rule10_1_KnowsCompactNamesMixedWithLongOnes) {
  const std::string text =
      "INVITE sip:b@h SIP/2.0\r\nv: SIP/2.0/UDP h;branch=z9hG4bKx\r\nf: <sip:a@h>;tag=a\r\nt: "
      "<sip:b@h>\r\ni: c\r\nCSeq: 1 INVITE\r\nm: <sip:a@h>\r\nx: 90\r\nk: timer\r\nl: 0\r\n\r\n";
  MessageView view;
  ASSERT_TRUE(view.Parse(text).ok());
  EXPECT_EQ(view.call_id(), "c");
  EXPECT_EQ(view.Get(HeaderId::kSessionExpires), "90");
  EXPECT_EQ(view.Get(HeaderId::kSupported), "timer");
  EXPECT_EQ(sip::HeaderIdFromName("R"), HeaderId::kOther);
}

TEST(MessageView, KnowsTheNamesOfAllFieldsThatItIndexes) {
  std::set<HeaderId> known;
  for (const auto& [text, id] : ReferenceNames()) {
    const std::string name(text);
    std::string other_case = name;
    for (char& c : other_case)
      c = static_cast<char>(std::isupper(c) ? std::tolower(c) : std::toupper(c));
    EXPECT_EQ(sip::HeaderIdFromName(name), id) << name;
    EXPECT_EQ(sip::HeaderIdFromName(other_case), id) << other_case;
    EXPECT_EQ(sip::HeaderIdFromName(name + "x"), HeaderId::kOther) << name;
    known.insert(id);
  }
  EXPECT_EQ(known.size(), static_cast<std::size_t>(sip::kHeaderIdCount - 1)) << "one is not tested";
}

TEST(MessageView, Rule10_2_JoinsRowsCommasAndFolds) {
  MessageView view;
  const std::string text =
      Message("record-ROUTE : <sip:p1;lr>,\r\n <sip:p2;lr>\r\nRecord-Route: <sip:p3;lr>\r\n");
  ASSERT_TRUE(view.Parse(text).ok());
  EXPECT_THAT(Values(view, HeaderId::kRecordRoute),
              ElementsAre("sip:p1;lr", "sip:p2;lr", "sip:p3;lr"));
}

TEST(MessageView, Rule10_3_SplitsAtCommasOnlyWhereAListIs) {
  MessageView view;
  const std::string text = Message(
      "Date: Sat, 13 Nov 2010 23:29:00 GMT\r\n"
      "Authorization: Digest username=\"a,b\", realm=\"x\", nonce=\"n\"\r\n"
      "Route: <sip:p1;lr>, <sip:p2;lr>\r\n");
  ASSERT_TRUE(view.Parse(text).ok());
  EXPECT_EQ(view.Get(HeaderId::kAuthorization),
            "Digest username=\"a,b\", realm=\"x\", nonce=\"n\"");
  EXPECT_THAT(Values(view, HeaderId::kRoute), ElementsAre("sip:p1;lr", "sip:p2;lr"));
  // Several Via values in one row are several; see Rule10_12. A Call-ID is one, whatever is in it.
  std::string odd = Message("");
  odd.replace(odd.find("Call-ID: c\r\n"), 12, "Call-ID: a,b;c@h\r\n");
  ASSERT_TRUE(view.Parse(odd).ok());
  EXPECT_EQ(view.call_id(), "a,b;c@h");
}

TEST(MessageView, Rule10_13_TakesMethodsAndReasonsAsTheyStand) {
  MessageView view;
  std::string escaped = Message("");
  for (std::size_t at; (at = escaped.find("INVITE")) != std::string::npos;) {
    escaped.replace(at, 6, "RE%47IST%45R");
  }
  ASSERT_TRUE(view.Parse(escaped).ok());
  EXPECT_EQ(view.method(), sip::Method::kOther) << "an escape in a method is no REGISTER";
  EXPECT_EQ(view.method_text(), "RE%47IST%45R");
  const std::string rest =
      "Via: SIP/2.0/UDP h;branch=z9hG4bKx\r\nFrom: <sip:a@h>;tag=a\r\nTo: <sip:b@h>;tag=b\r\n"
      "Call-ID: c\r\nCSeq: 1 INVITE\r\n\r\n";
  for (const std::string& reason :
       {std::string(" "), std::string(" \xd0\xbe\xd1\x82"), std::string("")}) {
    const std::string answer = "SIP/2.0 200" + reason + "\r\n" + rest;
    ASSERT_TRUE(view.Parse(answer).ok()) << reason;
    EXPECT_EQ(view.status(), 200);
  }
  std::string scheme = Message("");
  scheme.replace(scheme.find("sip:b@h"), 7, "nobodyKnowsThisScheme:x");
  EXPECT_TRUE(view.Parse(scheme).ok());
}

TEST(MessageView, Rule10_4_SplitsOutsideOfQuotesAndBrackets) {
  MessageView view;
  const std::string text = Message("Contact: \"a\\\",<b\" <sip:u@h;x=1>;q=1, <sip:v@h>\r\n");
  ASSERT_TRUE(view.Parse(text).ok());
  EXPECT_THAT(Values(view, HeaderId::kContact), ElementsAre("sip:u@h;x=1", "sip:v@h"));
}

TEST(NameAddr, Rule10_5_WithoutBracketsParametersAreTheHeaders) {
  const auto bare = NameAddrView::Parse("sip:u@h;transport=tcp");
  ASSERT_TRUE(bare.has_value());
  EXPECT_EQ(bare->uri, "sip:u@h");
  EXPECT_EQ(bare->Param("transport"), "tcp");
  const auto inside = NameAddrView::Parse("<sip:u@h;transport=tcp>;x");
  ASSERT_TRUE(inside.has_value());
  EXPECT_EQ(inside->uri, "sip:u@h;transport=tcp");
  EXPECT_EQ(inside->Param("x"), "");
}

TEST(NameAddr, Rule10_6_RefusesHeadersWithoutBrackets) {
  EXPECT_FALSE(NameAddrView::Parse("sip:u@h?Route=%3Csip:evil%3E").has_value());
  EXPECT_TRUE(NameAddrView::Parse("<sip:u@h?Route=%3Csip:evil%3E>").has_value());
}

TEST(Uri, Rule10_7_KeepsEscapesAndSemicolonsOfTheUserPart) {
  const auto uri = UriView::Parse("sip:user;par=u%40example.net@example.com;x=%00");
  ASSERT_TRUE(uri.has_value());
  EXPECT_EQ(uri->user, "user;par=u%40example.net");
  EXPECT_EQ(uri->host, "example.com");
  EXPECT_EQ(uri->Param("x"), "%00");
}

TEST(Uri, Rule10_11_ReadsIpv6InBracketsOnly) {
  const auto whole = UriView::Parse("sip:[2001:db8::10:5070]");
  ASSERT_TRUE(whole.has_value());
  EXPECT_EQ(whole->port, 0);
  EXPECT_EQ(UriView::Parse("sip:[2001:db8::10]:5070")->port, 5070);
  EXPECT_FALSE(UriView::Parse("sip:2001:db8::10").has_value());
  EXPECT_TRUE(UriView::Parse("sip:[2001:db8:::192.0.2.1]").has_value());
  EXPECT_EQ(sip::IpAddress::Parse("::ffff:192.0.2.10"), sip::IpAddress::Parse("192.0.2.10"));
}

TEST(Uri, RefusesWhatIsNone) {
  for (const char* text : {"", "sip:", "sip", ":x", "sip:a b@h", "sip:<a@h>", "sip:a@h:99999",
                           "sip:@h", "sip:a@", "sip:a@h@i", "sip:a@h:", "sip:a\"@h", "1sip:a@h"}) {
    EXPECT_FALSE(UriView::Parse(text).has_value()) << text;
  }
}

TEST(MessageView, Rule10_8_Rule10_9_ReadsCseqStrictly) {
  struct Case {
    const char* line;
    ParseError error;
  };
  for (const Case& c :
       {Case{"CSeq: 0009  INVITE", ParseError::kNone},
        Case{"CSeq: 4294967295 INVITE", ParseError::kNone},
        Case{"CSeq: 4294967296 INVITE", ParseError::kBadCseq},
        Case{"CSeq: -1 INVITE", ParseError::kBadCseq}, Case{"CSeq: 1INVITE", ParseError::kBadCseq},
        Case{"CSeq: 1 BYE", ParseError::kCseqMethodMismatch},
        Case{"CSeq: 1 INVITE\r\nCSeq: 1 INVITE", ParseError::kDuplicateHeader},
        Case{"X: y", ParseError::kMissingHeader}}) {
    std::string text = Message("");
    text.replace(text.find("CSeq: 1 INVITE"), 14, c.line);
    MessageView view;
    EXPECT_EQ(view.Parse(text).error, c.error) << c.line;
  }
}

TEST(MessageView, Rule10_10_FramesTheBody) {
  MessageView view;
  const std::string shorter = Message("Content-Length: 2\r\n", "abcdef");
  ASSERT_TRUE(view.Parse(shorter).ok());
  EXPECT_EQ(view.body(), "ab");
  EXPECT_EQ(view.size(), shorter.size() - 4);
  const std::string longer = Message("Content-Length: 99\r\n", "abc");
  ASSERT_TRUE(view.Parse(longer).ok());
  EXPECT_TRUE(view.body_truncated());
  EXPECT_EQ(view.Parse(std::string_view("INVITE sip:b@h SIP/2.0\r\nVia: x")).error,
            ParseError::kNoEndOfHeaders);
}

TEST(Via, Rule10_12_ReadsSpacesAndSeveralInARow) {
  std::string_view list =
      "SIP / 2.0 / UDP  first.example.com: 4000;ttl=16 ;branch=z9hG4bKa, "
      "SIP/2.0/tcp [2001:db8::1]:5061;received=[2001:db8::9];rport=7";
  ViaView via;
  ASSERT_EQ(NextVia(&list, &via), ListStep::kValue);
  EXPECT_EQ(via.host, "first.example.com");
  EXPECT_EQ(via.port, 4000);
  EXPECT_EQ(via.branch, "z9hG4bKa");
  ASSERT_EQ(NextVia(&list, &via), ListStep::kValue);
  EXPECT_EQ(via.received, "2001:db8::9");
  EXPECT_EQ(via.rport, 7);
  EXPECT_EQ(via.transport, sip::Transport::kTcp);
  EXPECT_EQ(NextVia(&list, &via), ListStep::kEnd);
}

TEST(MessageView, Rule10_14_BoundsWhatItIndexes) {
  std::string many;
  for (int i = 0; i < 300; ++i) many += "Route: <sip:p;lr>\r\n";
  MessageView view;
  const std::string text = Message(many);
  EXPECT_EQ(view.Parse(text).error, ParseError::kTooManyHeaders);
  std::string others;
  for (int i = 0; i < 5000; ++i) others += "X-Header: value\r\n";
  const std::string fine = Message(others);
  EXPECT_TRUE(view.Parse(fine).ok());
  EXPECT_EQ(view.Parse(fine, {.max_bytes = 100}).error, ParseError::kTooLarge);
}

TEST(MessageView, ErrorsNameRuleAndOffset) {
  MessageView view;
  const std::string text = Message("Content-Length: x\r\n");
  const auto status = ToStatus(view.Parse(text));
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), ::testing::HasSubstr("RFC 3261 20.14"));
  EXPECT_THAT(std::string(status.message()),
              ::testing::HasSubstr(std::to_string(text.find("x\r\n\r\n"))));
}

TEST(StreamFramer, CutsMessagesAtAnyPieceSizeWithKeepAlivesBetween) {
  const std::string one = Message("Content-Length: 5\r\n", "hello");
  const std::string stream = "\r\n\r\n" + one + "\r\n" + one + "junk\r\n" + one;
  for (std::size_t piece = 1; piece < 40; ++piece) {
    sip::StreamFramer framer;
    std::vector<std::string> messages;
    std::string message;
    for (std::size_t at = 0; at < stream.size(); at += piece) {
      framer.Append(std::string_view(stream).substr(at, piece));
      while (framer.Next(&message)) messages.push_back(message);
    }
    ASSERT_THAT(messages, SizeIs(3)) << piece;
    for (const std::string& cut : messages) EXPECT_EQ(cut, one);
    EXPECT_EQ(framer.dropped(), 6u);
  }
}

TEST(StreamFramer, SplitsACoalescedBufferAndLeavesTheTail) {
  const std::string one = Message("Content-Length: 5\r\n", "hello");
  EXPECT_THAT(sip::SplitStreamBuffer(one + "\r\n\r\n" + one + one.substr(0, 60)),
              ElementsAre(one, one));
  EXPECT_THAT(sip::SplitStreamBuffer(""), IsEmpty());
  EXPECT_THAT(sip::SplitStreamBuffer("no sip here"), IsEmpty());
}

// What a message of the torture corpus must come to. Parsing covers the structure; ReadFields below
// adds the values that a dialog is made of.
bool Usable(const std::string& text) {
  MessageView view;
  if (!view.Parse(text).ok()) return false;
  bool ok = true;
  view.ForEach(HeaderId::kVia, [&](std::string_view value) {
    ViaView via;
    ListStep step;
    while ((step = NextVia(&value, &via)) == ListStep::kValue) {
    }
    ok = ok && step == ListStep::kEnd;
  });
  for (HeaderId id : {HeaderId::kFrom, HeaderId::kTo}) {
    ok = ok && NameAddrView::Parse(view.Get(id)).has_value();
  }
  std::string_view contacts = view.Get(HeaderId::kContact);
  if (!contacts.empty() && contacts != "*") {
    NameAddrView contact;
    ListStep step;
    while ((step = NextNameAddr(&contacts, &contact)) == ListStep::kValue) {
    }
    ok = ok && step == ListStep::kEnd;
  }
  return ok;
}

TEST(Torture, TakesAndRefusesByTheManifest) {
  const std::string root = TestDataOrSkip("torture");
  if (root.empty()) GTEST_SKIP() << "torture corpus not found: set SIPHEAL_TEST_DATA";
  // Invalid by the RFC, and taken all the same: what is wrong is nothing that a dialog is made of,
  // or the RFC allows to be liberal.
  const std::map<std::string, std::string> liberal = {
      {"rfc4475/clerr.dat", "headers kept, body refused"},
      {"rfc4475/baddate.dat", "Date is not read"},
  };
  // Valid or parseable, and refused: it has no dialog.
  const std::map<std::string, std::string> refused = {
      {"rfc4475/insuf.dat", "no Call-ID, From or To"},
      {"rfc4475/multi01.dat", "ambiguous dialog"},
      {"rfc4475/mcl01.dat", "ambiguous length"},
  };
  int seen = 0;
  for (const std::vector<std::string>& row : ReadTsv(root + "/manifest.tsv")) {
    const std::string& file = row.at(0);
    if (file == "file") continue;
    ++seen;
    const bool invalid = row.at(2) == "invalid";
    const bool expected = (!invalid || liberal.count(file) > 0) && refused.count(file) == 0;
    EXPECT_EQ(Usable(ReadFileOrDie(root + "/" + file)), expected) << file << ": " << row.at(3);
  }
  EXPECT_EQ(seen, 62);
}

TEST(Torture, ReadsTheShortTortuousInvite) {
  const std::string root = TestDataOrSkip("torture");
  if (root.empty()) GTEST_SKIP() << "torture corpus not found: set SIPHEAL_TEST_DATA";
  const std::string text = ReadFileOrDie(root + "/rfc4475/wsinv.dat");
  MessageView view;
  ASSERT_TRUE(view.Parse(text).ok());
  EXPECT_EQ(view.cseq(), 9u);
  std::string_view vias = view.Get(HeaderId::kVia);
  ViaView via;
  ASSERT_EQ(NextVia(&vias, &via), ListStep::kValue);
  EXPECT_EQ(via.host, "192.0.2.2");
  const std::string twice = ReadFileOrDie(root + "/rfc4475/dblreq.dat");
  ASSERT_TRUE(view.Parse(twice).ok());
  EXPECT_EQ(view.method(), sip::Method::kRegister);
  EXPECT_EQ(view.body(), "");
  const std::string escaped = ReadFileOrDie(root + "/rfc4475/esc02.dat");
  ASSERT_TRUE(view.Parse(escaped).ok());
  EXPECT_EQ(view.method(), sip::Method::kOther);
}

TEST(Torture, FoldingAnyOfItIsSafe) {
  const std::string root = TestDataOrSkip("torture");
  if (root.empty()) GTEST_SKIP() << "torture corpus not found: set SIPHEAL_TEST_DATA";
  CallScript call;
  sip::DialogFolder folder(call.server);
  for (const std::vector<std::string>& row : ReadTsv(root + "/manifest.tsv")) {
    if (row.at(0) == "file") continue;
    const std::string text = ReadFileOrDie(root + "/" + row.at(0));
    for (std::size_t size = 0; size <= text.size(); size += 7) {
      sip::CapturedMessage message;
      message.bytes = text.substr(0, size + 7);
      message.source = *sip::Endpoint::Parse(kPeer);
      message.destination = *sip::Endpoint::Parse(kServer);
      folder.Fold(message);
    }
  }
  folder.ForEachCall([&](std::string_view call_id) { folder.Snapshot(call_id); });
}

}  // namespace
}  // namespace sipheal::testing
