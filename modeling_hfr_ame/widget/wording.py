"""What the page says about itself."""

TITLE = "Sentiment under corruption"
HEADER = """\
<header class="hfr-header">
  <h1>Sentiment under corruption</h1>
  <p>Give a clip, damage it on purpose, and watch what the model still makes of it.</p>
  <p class="hfr-aside">Not for judging people: the EU AI Act forbids inferring emotions at work and in education.</p>
</header>
"""

LIMITS = """\
<footer class="hfr-limits">
<section>
<h3>What the score means</h3>
<p>The score says how annotators of the training data would have rated an utterance like this one, from clearly
negative to clearly positive. It is <b>not</b> what the speaker feels, thinks or intends, and it is not a fact about
a person. <i>Damage</i> is the model's own estimate, not a measurement.</p>
</section>
<section>
<h3>Its limits</h3>
<ul>
<li>A model is only good on speech like that of its training: its language, its kind of speaker, its camera.
Elsewhere a score can be arbitrary and still look certain.</li>
<li>Nothing is transcribed here. Without your words the model judges by voice and face alone, and a timeline sees
only words with times (<code>.srt</code>, <code>.vtt</code>, <code>.json</code>).</li>
<li>Corruption acts on the words and on the features of voice and face, not on the sound and the pictures that you
see.</li>
<li>The example talkers are drawn and speak made-up words. Nobody was recorded.</li>
</ul>
</section>
<section>
<h3>Use it lawfully</h3>
<p>The EU AI Act (Article 5) prohibits AI systems that infer emotions of people <b>at work and in education</b>,
apart from medical and safety reasons. Do not use this page for that, nor to decide anything about anybody. Clips of
people are personal data: use them with consent.</p>
</section>
<section>
<h3>Your clip</h3>
<p>It is processed on the machine that runs this page, and nowhere else. There are no analytics. Features are
removed once they are read, uploaded files after about half an hour and when the server stops.</p>
</section>
</footer>
"""
