#include "core/file.h"

#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/core/support.h"

using namespace norma;
using namespace norma::tests;

namespace {

void write_whole(const std::string& path, const std::string& text) {
  AtomicFile file(path);
  file.write(text);
  file.commit();
}

}  // namespace

TEST_CASE("a file is read back as it was written") {
  const TemporaryFolder folder;
  const std::string text("a\0b\r\n\xff", 6);
  write_whole(folder.path("x"), text);
  CHECK(read_file(folder.path("x")) == text);
  write_whole(folder.path("x"), "");
  CHECK(read_file(folder.path("x")).empty());
  CHECK(folder.count() == 1);
}

TEST_CASE("what cannot be read throws with path and cause") {
  const TemporaryFolder folder;
  const std::string message = message_of([&] { read_file(folder.path("missing")); });
  CHECK(contains(message, folder.path("missing")));
  CHECK(contains(message, "No such file"));
  CHECK(contains(message_of([&] { read_file(folder.path("")); }), "not a regular file"));
  CHECK(contains(message_of([] { read_file("/dev/zero"); }), "not a regular file"));
  REQUIRE(mkfifo(folder.path("pipe").c_str(), 0600) == 0);
  CHECK_THROWS_AS(read_file(folder.path("pipe")), Error);
  write_whole(folder.path("x"), "12345");
  CHECK(read_file(folder.path("x"), 5) == "12345");
  CHECK_THROWS_AS(read_file(folder.path("x"), 4), Error);
}

TEST_CASE("R118 a full disk or a path that cannot be written throws") {
  const TemporaryFolder folder;
  if (std::filesystem::exists("/dev/full")) {
    CHECK(contains(message_of([] { write_whole("/dev/full", "text"); }), "No space left"));
    CHECK_FALSE(std::filesystem::exists("/dev/full.tmp"));
  }
  CHECK_THROWS_AS(write_whole(folder.path("no/such/folder"), "text"), Error);
  CHECK_THROWS_AS(write_whole(folder.path(""), "text"), Error);
  CHECK(folder.count() == 0);
}

TEST_CASE("R119 without commit the old file stays and the temporary one goes") {
  const TemporaryFolder folder;
  write_whole(folder.path("x"), "old");
  {
    AtomicFile file(folder.path("x"));
    file.write("new");
    CHECK(folder.count() == 2);
  }
  CHECK(read_file(folder.path("x")) == "old");
  CHECK(folder.count() == 1);
  std::filesystem::create_directory(folder.path("folder"));
  CHECK_THROWS_AS(write_whole(folder.path("folder"), "text"), Error);  // the rename fails
  CHECK(folder.count() == 2);
  AtomicFile file(folder.path("x"));
  file.commit();
  CHECK_THROWS_AS(file.commit(), Error);
  CHECK_THROWS_AS(file.write("late"), Error);
}

TEST_CASE("R119 a link is followed, not replaced") {
  const TemporaryFolder folder;
  write_whole(folder.path("real"), "old");
  std::filesystem::create_symlink("real", folder.path("link"));
  write_whole(folder.path("link"), "new");
  CHECK(std::filesystem::is_symlink(folder.path("link")));
  CHECK(read_file(folder.path("real")) == "new");
}

TEST_CASE("R119 a writer killed at any moment leaves the old or the new file") {
  const TemporaryFolder folder;
  const std::string path = folder.path("x");
  const std::string first(1 << 16, 'a'), second(1 << 16, 'b');
  write_whole(path, first);
  Generator generator(1);
  int seen_second = 0;
  for (int trial = 0; trial < 50; ++trial) {
    const pid_t child = fork();
    REQUIRE(child >= 0);
    if (child == 0) {
      for (;;) {
        for (const std::string& text : {second, first}) {
          AtomicFile file(path);
          for (std::size_t done = 0; done < text.size(); done += 4096) file.write(text.data() + done, 4096);
          file.commit();
        }
      }
    }
    usleep(static_cast<useconds_t>(generator.below(5000)));
    kill(child, SIGKILL);
    REQUIRE(waitpid(child, nullptr, 0) == child);
    const std::string text = read_file(path);
    REQUIRE((text == first || text == second));
    seen_second += text == second;
  }
  MESSAGE("new file seen ", seen_second, " times of 50");
}
