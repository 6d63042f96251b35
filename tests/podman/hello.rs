//! The only file of an image FROM scratch: what `hello-world` is elsewhere.

fn main() {
    println!("hello from an empty image");
}
