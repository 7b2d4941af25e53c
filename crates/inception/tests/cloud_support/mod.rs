//! A web server that is also an S3, on a folder, for one test: `/web/PATH` are its files, `/bucket/KEY` its objects.
//!
//! Ranges, ETags, `If-Match` and lists in pages of [`PAGE`] keys are as the protocols say; signatures are not looked at. Rules make it
//! fail in the ways that networks and stores do.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Keys of a page of a list.
const PAGE: usize = 3;

/// What happens instead of an answer.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Act {
    /// This status, with a body that says nothing.
    Status(u16),
    /// Half of the body, then the end.
    Truncate,
    /// Nothing for so many milliseconds.
    Wait(u64),
    /// All of the file, whatever range was asked for.
    Whole,
    /// The file is another by now: its ETag does not match.
    Changed,
}

/// How often an [`Act`] happens to requests whose line has some text.
struct Rule {
    text: String,
    act: Act,
    times: usize,
}

/// A server that runs until the test ends.
pub(crate) struct Server {
    shared: Arc<Shared>,
    port: u16,
}

struct Shared {
    root: PathBuf,
    rules: Mutex<Vec<Rule>>,
    /// `GET /bucket/key` of every request.
    seen: Mutex<Vec<String>>,
}

impl Server {
    pub(crate) fn new(root: &Path) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("bound").port();
        let shared = Arc::new(Shared { root: root.into(), rules: Mutex::default(), seen: Mutex::default() });
        let all = shared.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = all.clone();
                // A client that has gone is no failure.
                std::thread::spawn(move || shared.serve(stream).ok());
            }
        });
        Server { shared, port }
    }

    pub(crate) fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Makes the next `times` requests whose line has `text` end with `act`.
    pub(crate) fn rule(&self, text: &str, act: Act, times: usize) {
        self.shared.rules.lock().unwrap().push(Rule { text: text.into(), act, times });
    }

    /// Ends all rules.
    pub(crate) fn behave(&self) {
        self.shared.rules.lock().unwrap().clear();
    }

    /// How many requests had `text` in their line.
    pub(crate) fn count(&self, text: &str) -> usize {
        self.shared.seen.lock().unwrap().iter().filter(|line| line.contains(text)).count()
    }

    /// The environment for a program that is to find this server as S3, and no other.
    pub(crate) fn environment(&self) -> Vec<(String, String)> {
        let pairs = [
            ("AWS_ENDPOINT_URL", format!("http://{}", self.host())),
            ("AWS_ALLOW_HTTP", "true".into()),
            ("AWS_ACCESS_KEY_ID", "someone".into()),
            ("AWS_SECRET_ACCESS_KEY", "secret".into()),
            ("AWS_REGION", "us-east-1".into()),
            ("NO_PROXY", "127.0.0.1".into()),
            ("INCEPTION_RETRY_SECONDS", "20".into()),
        ];
        pairs.map(|(name, value)| (name.to_string(), value)).into()
    }
}

/// A request's line and the headers that matter.
#[derive(Clone)]
struct Request {
    method: String,
    path: String,
    query: String,
    range: Option<(usize, Option<usize>)>,
    if_match: Option<String>,
}

impl Request {
    fn read(stream: &TcpStream) -> std::io::Result<Self> {
        let mut lines = BufReader::new(stream).lines();
        let first = lines.next().transpose()?.unwrap_or_default();
        let mut words = first.split(' ');
        let method = words.next().unwrap_or_default().to_string();
        let (path, query) =
            words.next().map(|target| target.split_once('?').unwrap_or((target, ""))).unwrap_or_default();
        let mut request =
            Request { method, path: decoded(path), query: query.into(), range: None, if_match: None };
        for line in lines {
            let line = line?;
            let Some((name, value)) = line.split_once(": ") else { break };
            match &*name.to_lowercase() {
                "range" => {
                    let (start, end) = value.trim_start_matches("bytes=").split_once('-').expect("a range");
                    request.range = Some((start.parse().expect("a number"), end.parse().ok()));
                }
                "if-match" => request.if_match = Some(value.into()),
                _ => {}
            }
        }
        Ok(request)
    }

    fn query(&self, key: &str) -> Option<String> {
        let mut pairs = self.query.split('&').filter_map(|pair| pair.split_once('='));
        pairs.find(|(name, _)| *name == key).map(|(_, value)| decoded(&value.replace('+', " ")))
    }
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let byte = match byte {
            b'%' => {
                let digits = [rest.next(), rest.next()].map(|digit| digit.expect("two digits") as char);
                u8::from_str_radix(&digits.iter().collect::<String>(), 16).expect("hexadecimal")
            }
            byte => byte,
        };
        bytes.push(byte);
    }
    String::from_utf8(bytes).expect("UTF-8")
}

/// An answer's status, headers and body.
struct Answer(u16, Vec<(&'static str, String)>, Vec<u8>);

impl Shared {
    fn serve(&self, mut stream: TcpStream) -> std::io::Result<()> {
        let request = Request::read(&stream)?;
        let line = format!("{} {}?{}", request.method, request.path, request.query);
        self.seen.lock().unwrap().push(line.clone());
        let act = self.act(&line);
        let Answer(status, headers, body) = match act {
            Some(Act::Status(status)) => Answer(status, Vec::new(), b"<Error>of a test</Error>".into()),
            Some(Act::Whole) => self.file(&Request { range: None, ..request.clone() }),
            Some(Act::Changed) if request.if_match.is_some() => Answer(412, Vec::new(), Vec::new()),
            _ if request.query("list-type").is_some() => self.list(&request),
            _ => self.file(&request),
        };
        if let Some(Act::Wait(milliseconds)) = act {
            std::thread::sleep(Duration::from_millis(milliseconds));
        }
        write!(stream, "HTTP/1.1 {status} of the test\r\nConnection: close\r\n")?;
        write!(stream, "Last-Modified: Tue, 02 Jan 2024 03:04:05 GMT\r\nContent-Length: {}\r\n", body.len())?;
        headers.iter().try_for_each(|(name, value)| write!(stream, "{name}: {value}\r\n"))?;
        write!(stream, "\r\n")?;
        let end = if matches!(act, Some(Act::Truncate)) { body.len() / 2 } else { body.len() };
        if request.method != "HEAD" {
            stream.write_all(&body[..end])?;
        }
        stream.flush()
    }

    fn act(&self, line: &str) -> Option<Act> {
        let mut rules = self.rules.lock().unwrap();
        let rule = rules.iter_mut().find(|rule| rule.times > 0 && line.contains(&rule.text))?;
        rule.times -= 1;
        Some(rule.act)
    }

    /// Where a request's file lies: behind the first part of its path.
    fn place(&self, path: &str) -> PathBuf {
        let below = path.trim_start_matches('/').split_once('/').map_or("", |(_, below)| below);
        self.root.join(below)
    }

    fn file(&self, request: &Request) -> Answer {
        let Ok(bytes) = fs::read(self.place(&request.path)) else {
            return Answer(404, Vec::new(), b"<Error><Code>NoSuchKey</Code></Error>".into());
        };
        let tag = tag(&bytes);
        if request.if_match.as_ref().is_some_and(|wanted| *wanted != tag) {
            return Answer(412, Vec::new(), Vec::new());
        }
        let tag = ("ETag", tag);
        match request.range {
            None => Answer(200, vec![tag], bytes),
            Some((start, _)) if start >= bytes.len() => Answer(416, Vec::new(), Vec::new()),
            Some((start, end)) => {
                let end = end.map_or(bytes.len(), |end| (end + 1).min(bytes.len()));
                let range = format!("bytes {start}-{}/{}", end - 1, bytes.len());
                Answer(206, vec![tag, ("Content-Range", range)], bytes[start..end].to_vec())
            }
        }
    }

    fn list(&self, request: &Request) -> Answer {
        let prefix = request.query("prefix").unwrap_or_default();
        let mut keys = Vec::new();
        files(&self.root, "", &mut keys);
        keys.sort();
        let after = request.query("continuation-token").unwrap_or_default();
        let mut found = keys.into_iter().filter(|key| key.starts_with(&prefix) && *key > after);
        let page: Vec<String> = found.by_ref().take(PAGE).collect();
        let is_cut = found.next().is_some();
        let mut xml = format!("<ListBucketResult><IsTruncated>{is_cut}</IsTruncated>");
        if let Some(last) = page.last().filter(|_| is_cut) {
            xml += &format!("<NextContinuationToken>{last}</NextContinuationToken>");
        }
        for key in &page {
            let bytes = fs::read(self.root.join(key)).unwrap_or_default();
            let tag = tag(&bytes).replace('"', "&quot;");
            xml += &format!(
                "<Contents><Key>{key}</Key><LastModified>2024-01-02T03:04:05.000Z</LastModified><ETag>{tag}</ETag><Size>{}</Size></Contents>",
                bytes.len()
            );
        }
        Answer(200, Vec::new(), (xml + "</ListBucketResult>").into())
    }
}

fn tag(bytes: &[u8]) -> String {
    format!("\"{:08x}\"", crc32c::crc32c(bytes))
}

/// Keys of all files below a folder.
fn files(folder: &Path, above: &str, keys: &mut Vec<String>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let key = format!("{above}{}", entry.file_name().to_string_lossy());
        match entry.path().is_dir() {
            true => files(&entry.path(), &format!("{key}/"), keys),
            false => keys.push(key),
        }
    }
}
