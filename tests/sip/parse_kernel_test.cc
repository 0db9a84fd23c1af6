// SPDX-License-Identifier: Apache-2.0
// Every kernel reads every message as the slow reference does: the torture messages, messages made
// to touch the edges of the fast paths, all of them damaged at random, at every alignment, and with
// the bytes ending where memory ends.
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "sip/kernel/header_names.h"
#include "sip/kernel/kernel.h"
#include "tests/sip/reference_parser.h"
#include "tests/sip/test_data.h"

namespace sipheal::testing {
namespace {

// Memory whose last byte is followed by a page that cannot be read.
class GuardedMemory {
 public:
  explicit GuardedMemory(std::size_t size) {
    const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
    size_ = (size + page - 1) / page * page;
    memory_ = static_cast<char*>(
        mmap(nullptr, size_ + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    if (memory_ == MAP_FAILED) std::abort();
    if (mprotect(memory_ + size_, page, PROT_NONE) != 0) std::abort();
  }
  ~GuardedMemory() { munmap(memory_, size_ + static_cast<std::size_t>(sysconf(_SC_PAGESIZE))); }
  GuardedMemory(const GuardedMemory&) = delete;
  GuardedMemory& operator=(const GuardedMemory&) = delete;

  // A copy of `text` that ends `gap` bytes before the guard.
  std::string_view PutAtEnd(std::string_view text, std::size_t gap) {
    char* const at = memory_ + size_ - gap - text.size();
    std::memcpy(at, text.data(), text.size());
    return {at, text.size()};
  }

 private:
  char* memory_ = nullptr;
  std::size_t size_ = 0;
};

constexpr std::size_t kMaxMessage = 200'000;
GuardedMemory& Guarded() {
  static GuardedMemory memory(kMaxMessage + 64);
  return memory;
}

// How many messages were taken, so that a test shows that it did not compare errors only.
int taken = 0;

void ExpectSame(std::string_view text, std::size_t gap) {
  const std::string_view bytes = Guarded().PutAtEnd(text, gap);
  const std::string expected = ReadByReference(bytes);
  std::size_t first_offset = 0;
  bool first = true;
  for (const sip::kernel::Kernel* kernel : sip::kernel::RunnableKernels()) {
    std::size_t offset = 0;
    const std::string read = ReadByKernel(*kernel, bytes, &offset);
    ASSERT_EQ(read, expected) << kernel->name << " of\n" << text;
    ASSERT_LE(offset, bytes.size()) << kernel->name;
    if (first) first_offset = offset;
    first = false;
    ASSERT_EQ(offset, first_offset) << kernel->name << " of\n" << text;
  }
  if (!expected.starts_with("error: ")) ++taken;
}

std::string Invite(const std::string& from, const std::string& rest = "") {
  return "INVITE sip:bob@192.0.2.4:5060;transport=tcp SIP/2.0\r\n"
         "Via: SIP/2.0/UDP 198.51.100.20;branch=z9hG4bK4c1e.0a4cc5bb.0\r\n"
         "Via: SIP/2.0/TLS 203.0.113.9:5061;received=203.0.113.9;rport=5061;branch=z9hG4bKb\r\n"
         "From: " +
         from +
         "\r\nTo: <sip:bob@example.com>\r\nCall-ID: a84b4c76e66710@pc33\r\n"
         "CSeq: 314159 INVITE\r\nContact: <sip:alice@pc33.example.com:5060>\r\n" +
         rest + "\r\n";
}

std::string InviteFrom(const std::string& contact) {
  std::string text = Invite("<sip:a@example.com>;tag=1");
  const std::string plain = "<sip:alice@pc33.example.com:5060>";
  return text.replace(text.find(plain), plain.size(), contact);
}

// Messages at the edges of the fast paths.
std::vector<std::string> Messages() {
  const std::string x63(63, 'x');
  std::vector<std::string> messages = {
      Invite("\"Alice\" <sip:alice@example.com;user=phone>;tag=1928301774"),
      Invite("Alice Example <sip:alice@example.com>;tag=1",
             "Session-Expires: 1800;refresher=uac\r\n"),
      Invite("<sips:alice@example.com:65535>;TAG=1", "Session-Expires: 90;Refresher=UAS\r\n"),
      Invite("<sip:alice@example.com:65536>;tag=1"),
      Invite("<sip:alice@example.com:000005060>;tag=1"),
      Invite("\"A \\\"quoted\\\" <b>\" <sip:a@[2001:db8::1]:5060>;tag=1;x=\"y;tag=2\""),
      Invite("sip:a@example.com;tag=1"),
      Invite("<tel:+1-201-555-0123>;tag=1", "x: 3600 ; refresher = uas\r\n"),
      Invite("\"Alice\"\r\n <sip:a@example.com>\r\n ;tag=1\r\n ;other"),
      Invite("<sip:a@example.com?Subject=x>;tag=1", "Session-Expires: 100000000\r\n"),
      Invite("<sip:a@b@example.com>;tag=1"),
      Invite("<sip:@example.com>;tag=1"),
      Invite("<sip:a_b@ex_ample.com>;tag=1"),
      Invite("<sip:a;b?c@example.com;d?e=f>;tag=1"),
      Invite("<sip:a@example.com>;tag="),
      Invite("<sip:a@example.com>;tagg=1;tag=2;tag=3"),
      Invite("<sip:a@example.com> ; tag = 1"),
      Invite("<sip:a@example.com>;tag=\"1\""),
      Invite("<sip:a@example.com>;tag=1", "Contact: *\r\n"),
      Invite("<sip:" + x63 + "@example.com>;tag=" + x63),
      Invite("<sip:a@" + x63 + ".example.com;" + x63 + "=@>;tag=" + x63 + x63),
      Invite("\"" + x63 + x63 + "\" <sip:a@example.com;" + x63 + "?" + x63 + ">;tag=1"),
      Invite("<sip:a@example.com>;tag=1",
             "Record-Route: <sip:p1;lr>,<sip:p2;lr;ftag=" + x63 +
                 ";did=1.2>, <sip:p3>;x=1\r\n"
                 "Record-Route: <sip:p4;lr>\r\nRecord-Route:\r\nRoute: <sip:p5;lr>\r\n"),
      Invite("<sip:a@example.com>;tag=1", "Record-Route: sip:p1;lr\r\n"),
      Invite("<sip:a@example.com>;tag=1", "Record-Route: <sip:p1;lr>,\r\n"),
      Invite(
          "<sip:a@example.com>;tag=1",
          "Record-Route : <sip:p1;lr>,\r\n\t<sip:p2;lr>\r\nContent-Disposition: session\r\n"
          "Content-Dispositian: x\r\nContent-Encoding: gzip\r\nP-Asserted-Identity: <sip:a@b>\r\n"
          "A-Very-Long-Header-Name-That-Fills-More-Than-A-Vector: Call-ID: x\r\nno colon here\r\n"
          ": no name\r\nMax-Forwards\r: 70\r\n"),
      "SIP/2.0 200 OK\r\nv: SIP / 2.0 / UDP  h ;branch=z9hG4bKx , SIP/2.0/UDP i\r\nf: "
      "<sip:a@h>;tag=a"
      "\nt: <sip:b@h>;tag=b\ni: c\r\ncseq:\t4294967295\tINVITE\r\nl: 3\r\nL: 3\r\nm: "
      "<sip:a@h>\r\n\r\nabc",
      "SIP/2.0 486 \r\nVia: SIP/2.0/TCP h:5060;rport;branch=z9hG4bKx;received=[::1]\r\nTo: "
      "<sip:b@h>;tag=b\r\nFrom: <sip:a@h>;tag=a\r\nCSeq: 00000000000000000012 "
      "SUBSCRIBE\r\nCall-ID: c"
      "\r\nl: 0\r\n\r\n",
      "sip/2.0 100\r\nVia: SIP/2.0/SCTP h;ttl=1;rport=99999\r\nTo: <sip:b@h>\r\nFrom: a "
      "<sip:a@h>\r\n"
      "CSeq: 4294967296 X\r\nCall-ID: c\r\n\r\n",
      "MYMETHOD tel:123 SIP/2.0\nVia: SIP/2.0/UDP h;branch=a;branch=b;rport=1;rport=2\nTo: "
      "<sip:b@h>\n"
      "From: <sip:a@h>\nCSeq: 12345678 MYMETHOD\nCall-ID: c\n\n",
      "BYE sip:b@h SIP/2.0\r\nVia: SIP/2.0/UDP h;received=;branch=x\r\n;y\r\nTo: "
      "<sip:b@h>\r\nFrom: "
      "<sip:a@h>\r\nCSeq: 1234567890123 BYE\r\nCall-ID: c d\r\n\r\n",
      "BYE sip:b@h SIP/2.0\r\n continued\r\nVia: SIP/2.0/UDP h\r\n\r\n",
      "\r\n\r\n",
      "\n",
      "x",
      "SIP/2.0 200",
      " \r\n",
      "BYE sip:b@h SIP/2.0\r\n\r\n",
  };
  for (const char* params : {";+sip.instance=\"<urn:uuid:6f82710d-8ca6-4aa7-89cf-cab2181c0ed8>\"",
                             ";expires=60;q=0.5;ob",
                             ";x=",
                             ";x",
                             ";x;y=;z=\"\"",
                             ";",
                             ";;x",
                             ";=1",
                             ";x=\"a\\\"b\"",
                             ";x=\"open",
                             ";x=a\"b",
                             ";x=\"a\"b",
                             ";x=\"a\",<sip:b@h>;y",
                             ";x=1,<sip:b@h",
                             "; x = 1",
                             ";x=1 ;y",
                             ";x=<y>",
                             ";x=\"a\r\n b\";y",
                             ";x=1\r\n ;y=2",
                             ";x=\"\x01\"",
                             ";x=\x01",
                             ";x@y=1",
                             ";\xc3\xa9=\xc3\xa9",
                             ";x=\"\xc3\xa9\""}) {
    messages.push_back(InviteFrom("<sip:a@h>" + std::string(params)));
  }
  messages.push_back(InviteFrom("<sip:a@h>;x=\"" + x63 + "\";y=" + x63 + ";" + x63 + x63));
  messages.push_back(InviteFrom("<sip:a@h>;x=\"" + x63 + "x\""));
  messages.push_back(InviteFrom("<sip:a@h>;y=" + x63 + "x"));
  std::string every_name;
  for (const sip::kernel::HeaderNameEntry& entry : sip::kernel::kHeaderNames) {
    const bool once = entry.id == sip::HeaderId::kFrom || entry.id == sip::HeaderId::kTo ||
                      entry.id == sip::HeaderId::kCallId || entry.id == sip::HeaderId::kCseq ||
                      entry.id == sip::HeaderId::kContentLength;
    if (once) continue;
    // Once as it is, once in capitals with a space; of a name like it, nothing.
    std::string capitals(entry.name);
    for (char& c : capitals) c = c >= 'a' && c <= 'z' ? static_cast<char>(c - 32) : c;
    every_name += std::string(entry.name) + ": <sip:a>\r\n" + capitals + " : <sip:b>\r\n";
    every_name += std::string(entry.name) + "x: <sip:c>\r\n";
    every_name += std::string(entry.name.substr(0, entry.name.size() - 1)) + "!: <sip:d>\r\n";
  }
  messages.push_back(Invite("<sip:a@example.com>;tag=1", every_name));
  std::string many = Invite("<sip:a@example.com>;tag=1");
  for (int i = 0; i < 300; ++i)
    many.insert(many.size() - 2, i % 3 ? "Route: <sip:p;lr>\r\n" : "X:y\r\n");
  messages.push_back(many);
  messages.push_back(Invite("<sip:a@h>;tag=1", std::string(200, '\n')));
  std::string all_routes;
  for (int i = 0; i < 71; ++i) {
    all_routes += "Record-Route: <sip:192.0.2.1;lr>\r\n";
    if (i >= 69) messages.push_back(Invite("<sip:a@h>;tag=1", all_routes));
  }
  return messages;
}

TEST(ParseKernels, ReadTheEdgesOfTheFastPathsAsTheReferenceAtEveryAlignment) {
  taken = 0;
  for (const std::string& text : Messages()) {
    for (std::size_t gap = 0; gap < 64; ++gap) ASSERT_NO_FATAL_FAILURE(ExpectSame(text, gap));
  }
  EXPECT_GE(taken, 64 * 40);
}

TEST(ParseKernels, ReadEveryPrefixAsTheReferenceUpToTheEndOfMemory) {
  for (const std::string& text : Messages()) {
    const std::size_t step = text.size() > 2000 ? 37 : 1;
    for (std::size_t size = 0; size <= text.size(); size += step) {
      ASSERT_NO_FATAL_FAILURE(ExpectSame(std::string_view(text).substr(0, size), 0));
    }
  }
}

// One to three changes: a byte of structure put in, taken out or put over another, a piece
// repeated.
std::string Damage(std::string text, std::mt19937* random) {
  static constexpr char kStructure[] = "\r\n\t \"\\<>;:,=@?[]/.-_*%09azAZ\x7f\x80\xff\0";
  constexpr std::string_view kBytes(kStructure, sizeof kStructure - 1);
  auto below = [random](std::size_t limit) { return (*random)() % limit; };
  for (std::size_t changes = 1 + below(3); changes > 0 && !text.empty(); --changes) {
    const std::size_t at = below(text.size());
    const char byte = kBytes[below(kBytes.size())];
    switch (below(5)) {
      case 0:
        text[at] = byte;
        break;
      case 1:
        text.insert(at, 1, byte);
        break;
      case 2:
        text.erase(at, 1 + below(4));
        break;
      case 3:
        text.insert(below(text.size()), text.substr(at, 1 + below(40)));
        break;
      default:
        text[at] = static_cast<char>(text[at] ^ (1 << below(8)));
        break;
    }
  }
  return text;
}

TEST(ParseKernels, ReadDamagedMessagesAsTheReference) {
  taken = 0;
  std::mt19937 random(20261123);
  const std::vector<std::string> messages = Messages();
  for (int round = 0; round < 60'000; ++round) {
    const std::string& text = messages[random() % messages.size()];
    if (text.size() > 2000 && round % 16 != 0) continue;
    ASSERT_NO_FATAL_FAILURE(ExpectSame(Damage(text, &random), random() % 2 ? 0 : random() % 64));
  }
  EXPECT_GE(taken, 10'000);
}

TEST(ParseKernels, ReadTheTortureMessagesAndTheirDamageAsTheReference) {
  taken = 0;
  const std::string root = TestDataOrSkip("torture");
  if (root.empty()) GTEST_SKIP() << "torture corpus not found: set SIPHEAL_TEST_DATA";
  std::mt19937 random(4475);
  int seen = 0;
  for (const std::vector<std::string>& row : ReadTsv(root + "/manifest.tsv")) {
    if (row.at(0) == "file") continue;
    const std::string text = ReadFileOrDie(root + "/" + row.at(0));
    for (std::size_t gap = 0; gap < 64; ++gap) ASSERT_NO_FATAL_FAILURE(ExpectSame(text, gap));
    for (int round = 0; round < 300; ++round) {
      ASSERT_NO_FATAL_FAILURE(ExpectSame(Damage(text, &random), round % 64));
    }
    ++seen;
  }
  EXPECT_EQ(seen, 62);
}

TEST(ParseKernels, AnInviteIsWrittenOfItsTextsAloneAndIntoItsMemoryAlone) {
  GuardedMemory memory(4096);
  sip::DialogState dialog;
  for (std::size_t size = 0; size <= 200; ++size) {
    std::string text;
    while (text.size() < size) text += static_cast<char>('a' + text.size() % 26);
    const std::string head = "INVITE " + std::string(100, 'u');
    const std::string tail =
        "\r\nMax-Forwards: 70\r\nFrom: <>;tag=\r\nTo: <>;tag=\r\nCall-ID: \r\nCSeq: 7@"
        "Content-Type: application/sdp\r\nContent-Length: 4\r\n\r\nbody";
    const std::string whole = head + text + tail;
    dialog.remote_target = std::string(100, 'u');
    const sip::kernel::Successor successor{.via = Guarded().PutAtEnd(text, 0),
                                           .contact = "@",
                                           .user = {},
                                           .contact_rest = {},
                                           .branch = {},
                                           .sdp = "body",
                                           .cseq = 7};
    for (const sip::kernel::Kernel* kernel : sip::kernel::RunnableKernels()) {
      const std::string_view room = memory.PutAtEnd(std::string(whole.size() + 64, '-'), 0);
      sip::kernel::WrittenRequest written;
      const std::size_t wrote = kernel->write_invite(dialog, nullptr, successor,
                                                     const_cast<char*>(room.data()), &written);
      EXPECT_EQ(room.substr(0, wrote), whole) << kernel->name;
    }
  }
}

TEST(ParseKernels, TheBestIsTheFirstAndThePlainOneRunsEverywhere) {
  const auto kernels = sip::kernel::RunnableKernels();
  ASSERT_FALSE(kernels.empty());
  EXPECT_EQ(&sip::kernel::BestKernel(), kernels.front());
  EXPECT_STREQ(kernels.back()->name, "plain");
}

}  // namespace
}  // namespace sipheal::testing
