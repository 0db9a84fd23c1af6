// SPDX-License-Identifier: Apache-2.0
// RFC 4475 and RFC 5118, row by row of the manifest: why a message is refused, and what is read of
// one that is taken.
#include <gtest/gtest.h>

#include <functional>
#include <map>
#include <string>

#include "sipheal/sip/message_view.h"
#include "sipheal/sip/sdp.h"
#include "sipheal/sip/uri.h"
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

struct Expected {
  ParseError error = ParseError::kNone;
  std::function<void(const MessageView&)> check;
};

NameAddrView Party(const MessageView& view, HeaderId id) {
  const auto party = NameAddrView::Parse(view.Get(id));
  EXPECT_TRUE(party.has_value()) << view.Get(id);
  return party.value_or(NameAddrView());
}

UriView Uri(std::string_view text) {
  const auto uri = UriView::Parse(text);
  EXPECT_TRUE(uri.has_value()) << text;
  return uri.value_or(UriView());
}

ViaView TopVia(const MessageView& view) {
  std::string_view list = view.Get(HeaderId::kVia);
  ViaView via;
  EXPECT_EQ(sip::NextVia(&list, &via), ListStep::kValue);
  return via;
}

int CountVias(const MessageView& view) {
  int count = 0;
  view.ForEach(HeaderId::kVia, [&count](std::string_view list) {
    ViaView via;
    while (sip::NextVia(&list, &via) == ListStep::kValue) ++count;
  });
  return count;
}

bool ListIsRefused(const MessageView& view, HeaderId id) {
  std::string_view list = view.Get(id);
  NameAddrView value;
  ListStep step;
  while ((step = sip::NextNameAddr(&list, &value)) == ListStep::kValue) {
  }
  return step == ListStep::kError;
}

Expected Taken(std::function<void(const MessageView&)> check) {
  return {ParseError::kNone, std::move(check)};
}
Expected Refused(ParseError error) { return {error, {}}; }
// All that has to be told of it is that it is taken.
Expected Taken() {
  return Taken([](const MessageView& view) { EXPECT_FALSE(view.call_id().empty()); });
}

std::map<std::string, Expected> Rfc4475() {
  std::map<std::string, Expected> rows;
  rows["wsinv"] = Taken([](const MessageView& view) {
    EXPECT_EQ(view.cseq(), 9u);
    EXPECT_EQ(CountVias(view), 3);
    EXPECT_EQ(Party(view, HeaderId::kContact).display, "\"Quoted string \\\"\\\"\"");
    EXPECT_EQ(Party(view, HeaderId::kFrom).Param("tag"), "98asjd8");
  });
  rows["intmeth"] = Taken([](const MessageView& view) {
    EXPECT_EQ(view.method_text(), "!interesting-Method0123456789_*+`.%indeed'~");
    EXPECT_EQ(view.cseq(), 139122385u);
  });
  rows["esc01"] = Taken([](const MessageView& view) {
    EXPECT_EQ(Uri(view.request_uri()).user, "sips%3Auser%40example.com");
    EXPECT_EQ(Uri(Party(view, HeaderId::kContact).uri).user, "cal%6Cer");
  });
  rows["escnull"] = Taken([](const MessageView& view) {
    EXPECT_EQ(Uri(Party(view, HeaderId::kContact).uri).user, "%00");
  });
  rows["esc02"] = Taken([](const MessageView& view) {
    EXPECT_EQ(view.method(), sip::Method::kOther);
    EXPECT_EQ(view.method_text(), "RE%47IST%45R");
  });
  rows["lwsdisp"] = Taken([](const MessageView& view) {
    EXPECT_EQ(Party(view, HeaderId::kFrom).display, "caller");
    EXPECT_EQ(Party(view, HeaderId::kFrom).uri, "sip:caller@example.com");
  });
  rows["longreq"] = Taken([](const MessageView& view) {
    EXPECT_EQ(view.cseq(), 3882340u);
    EXPECT_GT(view.call_id().size(), 100u);
  });
  rows["dblreq"] = Taken([](const MessageView& view) {
    EXPECT_EQ(view.method(), sip::Method::kRegister);
    EXPECT_LT(view.size(), 500u);  // the second message is a trailer
    EXPECT_EQ(view.body(), "");
  });
  rows["semiuri"] = Taken([](const MessageView& view) {
    EXPECT_EQ(Uri(view.request_uri()).user, "user;par=u%40example.net");
    EXPECT_EQ(Uri(view.request_uri()).params, "");
  });
  rows["transports"] = Taken([](const MessageView& view) { EXPECT_EQ(CountVias(view), 5); });
  rows["mpart01"] = Taken([](const MessageView& view) { EXPECT_EQ(sip::FindSdp(view), ""); });
  rows["unreason"] = Taken([](const MessageView& view) {
    EXPECT_EQ(view.status(), 200);
    EXPECT_GT(view.reason_phrase().size(), 10u);
  });
  rows["noreason"] = Taken([](const MessageView& view) {
    EXPECT_EQ(view.status(), 100);
    EXPECT_EQ(view.reason_phrase(), "");
  });
  rows["badinv01"] =
      Taken([](const MessageView& view) { EXPECT_TRUE(ListIsRefused(view, HeaderId::kContact)); });
  rows["clerr"] = Taken([](const MessageView& view) {
    EXPECT_TRUE(view.body_truncated());
    EXPECT_EQ(sip::FindSdp(view), "");
  });
  rows["ncl"] = Refused(ParseError::kBadContentLength);
  rows["scalar02"] = Refused(ParseError::kBadCseq);
  rows["scalarlg"] = Refused(ParseError::kBadCseq);
  rows["quotbal"] = Taken([](const MessageView& view) {
    EXPECT_FALSE(NameAddrView::Parse(view.Get(HeaderId::kTo)).has_value());
  });
  for (const char* name : {"ltgtruri", "lwsruri", "lwsstart", "trws", "escruri"}) {
    rows[name] = Refused(ParseError::kBadRequestUri);
  }
  rows["baddate"] = Taken();
  rows["regbadct"] =
      Taken([](const MessageView& view) { EXPECT_TRUE(ListIsRefused(view, HeaderId::kContact)); });
  rows["badaspec"] = Taken([](const MessageView& view) {
    EXPECT_FALSE(NameAddrView::Parse(view.Get(HeaderId::kTo)).has_value());
  });
  rows["baddn"] = Refused(ParseError::kNoEndOfHeaders);
  rows["badvers"] = Refused(ParseError::kBadVersion);
  rows["mismatch01"] = Refused(ParseError::kCseqMethodMismatch);
  rows["mismatch02"] = Refused(ParseError::kCseqMethodMismatch);
  rows["bigcode"] = Refused(ParseError::kBadStatusCode);
  rows["badbranch"] =
      Taken([](const MessageView& view) { EXPECT_FALSE(TopVia(view).has_rfc3261_branch()); });
  rows["insuf"] = Refused(ParseError::kMissingHeader);
  rows["unkscm"] = Taken([](const MessageView& view) {
    EXPECT_EQ(view.request_uri(), "nobodyKnowsThisScheme:totallyopaquecontent");
    EXPECT_FALSE(Uri(view.request_uri()).is_sip);
  });
  rows["novelsc"] =
      Taken([](const MessageView& view) { EXPECT_FALSE(Uri(view.request_uri()).is_sip); });
  rows["unksm2"] = Taken([](const MessageView& view) {
    EXPECT_FALSE(Uri(Party(view, HeaderId::kTo).uri).is_sip);
    EXPECT_EQ(Party(view, HeaderId::kContact).uri, "name:John_Smith");
  });
  rows["bext01"] = Taken();
  rows["invut"] = Taken([](const MessageView& view) { EXPECT_EQ(sip::FindSdp(view), ""); });
  rows["regaut01"] = Taken();
  rows["multi01"] = Refused(ParseError::kDuplicateHeader);
  rows["mcl01"] = Refused(ParseError::kDuplicateHeader);
  rows["bcast"] = Taken([](const MessageView& view) {
    EXPECT_EQ(CountVias(view), 2);
    EXPECT_EQ(TopVia(view).host, "192.0.2.198");
  });
  rows["zeromf"] = Taken();
  rows["cparam01"] = Taken([](const MessageView& view) {
    EXPECT_EQ(Party(view, HeaderId::kContact).uri, "sip:+19725552222@gw1.example.net");
    EXPECT_TRUE(Party(view, HeaderId::kContact).Param("unknownparam").has_value());
  });
  rows["cparam02"] = Taken([](const MessageView& view) {
    EXPECT_TRUE(Uri(Party(view, HeaderId::kContact).uri).Param("unknownparam").has_value());
    EXPECT_EQ(Party(view, HeaderId::kContact).params, "");
  });
  rows["regescrt"] = Taken([](const MessageView& view) {
    EXPECT_EQ(Uri(Party(view, HeaderId::kContact).uri).headers, "?Route=%3Csip:sip.example.com%3E");
  });
  rows["sdp01"] = Taken([](const MessageView& view) { EXPECT_NE(sip::FindSdp(view), ""); });
  rows["inv2543"] = Taken([](const MessageView& view) {
    EXPECT_FALSE(TopVia(view).has_rfc3261_branch());
    EXPECT_FALSE(Party(view, HeaderId::kFrom).Param("tag").has_value());
    EXPECT_FALSE(view.Has(HeaderId::kContact));
  });
  rows["test"] = Refused(ParseError::kBadStartLine);
  return rows;
}

std::map<std::string, Expected> Rfc5118() {
  std::map<std::string, Expected> rows;
  const auto request_uri = [](const char* host, std::uint16_t port) {
    return Taken([=](const MessageView& view) {
      EXPECT_EQ(Uri(view.request_uri()).host, host);
      EXPECT_EQ(Uri(view.request_uri()).port, port);
      EXPECT_TRUE(sip::IpAddress::Parse(host).has_value());
    });
  };
  rows["ipv6-good"] = request_uri("[2001:db8::10]", 0);
  rows["ipv6-bad"] = Refused(ParseError::kBadRequestUri);
  rows["port-ambiguous"] = request_uri("[2001:db8::10:5070]", 0);
  rows["port-unambiguous"] = request_uri("[2001:db8::10]", 5070);
  const Expected received =
      Taken([](const MessageView& view) { EXPECT_EQ(TopVia(view).received, "2001:db8::9:255"); });
  rows["via-received-param-with-delim"] = received;
  rows["via-received-param-no-delim"] = received;
  const auto sdp_address = [](const char* address) {
    return Taken([=](const MessageView& view) {
      const auto sdp = sip::ParseSdp(sip::FindSdp(view));
      ASSERT_TRUE(sdp.has_value());
      EXPECT_EQ(sdp->summary.origin_address, address);
    });
  };
  rows["ipv6-in-sdp"] = sdp_address("2001:db8::20");
  rows["mult-ip-in-header"] = Taken([](const MessageView& view) {
    EXPECT_GE(CountVias(view), 2);
    EXPECT_TRUE(sip::IpAddress::Parse(TopVia(view).host).has_value());
  });
  rows["mult-ip-in-sdp"] = Taken([](const MessageView& view) {
    const auto sdp = sip::ParseSdp(sip::FindSdp(view));
    ASSERT_TRUE(sdp.has_value());
    ASSERT_EQ(sdp->summary.media.size(), 2u);
    EXPECT_EQ(sdp->summary.media[0].address, "192.0.2.1");
    EXPECT_EQ(sdp->summary.media[1].address, "2001:db8::1");
  });
  rows["ipv4-mapped-ipv6"] = Taken([](const MessageView& view) {
    EXPECT_EQ(sip::IpAddress::Parse(Uri(Party(view, HeaderId::kContact).uri).host),
              sip::IpAddress::Parse("192.0.2.2"));
  });
  rows["ipv6-bug-abnf-3-colons"] = request_uri("[2001:db8:::192.0.2.1]", 0);
  rows["ipv6-correct-abnf-2-colons"] = request_uri("[2001:db8::192.0.2.1]", 0);
  return rows;
}

TEST(Torture, EveryRowOfTheManifestIsReadAsItTells) {
  const std::string root = TestDataOrSkip("torture");
  if (root.empty()) GTEST_SKIP() << "torture corpus not found: set SIPHEAL_TEST_DATA";
  const std::map<std::string, std::map<std::string, Expected>> expected = {{"rfc4475", Rfc4475()},
                                                                           {"rfc5118", Rfc5118()}};
  int seen = 0;
  for (const std::vector<std::string>& row : ReadTsv(root + "/manifest.tsv")) {
    const std::string& file = row.at(0);
    if (file == "file") continue;
    SCOPED_TRACE(file + ": " + row.at(3));
    const std::size_t slash = file.find('/');
    const std::string name = file.substr(slash + 1, file.rfind('.') - slash - 1);
    const auto corpus = expected.find(file.substr(0, slash));
    ASSERT_NE(corpus, expected.end());
    const auto known = corpus->second.find(name);
    ASSERT_NE(known, corpus->second.end()) << "a row without an expectation";
    ++seen;
    const std::string text = ReadFileOrDie(root + "/" + file);
    MessageView view;
    const sip::ParseResult result = view.Parse(text);
    EXPECT_EQ(result.error, known->second.error) << ToString(result.error);
    EXPECT_LE(result.offset, text.size());
    if (result.ok() && known->second.check) known->second.check(view);
  }
  EXPECT_EQ(seen, 62);
}

}  // namespace
}  // namespace sipheal::testing
